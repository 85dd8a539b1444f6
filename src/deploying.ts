import type { BucketsOfDeployment, TriggersOfDeployment } from './deployments/index.ts'
import { MayflyError } from './core/errors.ts'
import type { Triggers } from './triggers/index.ts'

/** What a deployment sees of buckets. */
export const bucketsOfDeployment = (): BucketsOfDeployment => ({
  get: async () => null,
  ensure: async () => {
    throw new MayflyError('bad_request', 'this version has no buckets')
  },
})

/** What a deployment sees of triggers. */
export const triggersOfDeployment = (triggers: Triggers): TriggersOfDeployment => ({
  get: async (project, functionName) => (await triggers.of(project, functionName)).map((trigger) => trigger.spec),
  put: async (project, functionName, specs) => void (await triggers.put(project, functionName, specs)),
})
