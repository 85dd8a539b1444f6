import type { BucketsOfDeployment, TriggersOfDeployment } from './deployments/index.ts'
import { MayflyError } from './core/errors.ts'

const none = (what: string) => new MayflyError('bad_request', `${what}: this version has none`)

/** What a deployment sees of buckets. */
export const bucketsOfDeployment = (): BucketsOfDeployment => ({
  get: async () => null,
  ensure: async () => {
    throw none('buckets')
  },
})

/** What a deployment sees of triggers. */
export const triggersOfDeployment = (): TriggersOfDeployment => ({
  check: (triggers) => {
    if (triggers.length > 0) throw none('triggers')
    return triggers
  },
  get: async () => [],
  put: async () => {},
})
