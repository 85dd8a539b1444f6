import type { BucketsOfDeployment, QueuesOfDeployment, TriggersOfDeployment, UrlsOfDeployment } from './deployments/index.ts'
import { MayflyError } from './core/errors.ts'
import type { Project, ProjectRef } from './core/project.ts'
import { type FunctionUrls, StoredArchives } from './functions/index.ts'
import { queueDifferences, type Queues } from './queues/index.ts'
import type { Storage } from './storage/index.ts'
import type { Triggers } from './triggers/index.ts'

/** What a deployment sees of buckets. */
export function bucketsOfDeployment(storage: Storage, find: (ref: ProjectRef) => Project | null): BucketsOfDeployment {
  const projectOf = (ref: ProjectRef): Project => {
    const project = find(ref)
    if (!project) throw new MayflyError('project_not_found', `there is no project ${ref}`)
    return project
  }
  return {
    get: async (ref, name) => await storage.getBucket(projectOf(ref), name),
    ensure: async (ref, bucket) => await storage.ensureBucket(projectOf(ref), bucket),
  }
}

/** Code that lies in buckets. */
export const archivesOfFunctions = (storage: Storage, find: (ref: ProjectRef) => Project | null): StoredArchives =>
  new StoredArchives(async (ref, place, limitBytes) => {
    const project = find(ref)
    return project ? await storage.readObject(project, place, limitBytes) : 'NoSuchBucket'
  })

/** What a deployment sees of triggers. */
export const triggersOfDeployment = (triggers: Triggers): TriggersOfDeployment => ({
  get: async (project, functionName) => (await triggers.of(project, functionName)).map((trigger) => trigger.spec),
  list: async (project) => await triggers.list(project),
  warnings: (project, specs) => triggers.warnings(project, specs),
  put: async (project, functionName, specs, over) => void (await triggers.put(project, functionName, specs, over)),
})

/** What a deployment sees of addresses of functions: that of the function itself. What browsers are told stays as it is. */
export const urlsOfDeployment = (urls: FunctionUrls): UrlsOfDeployment => ({
  get: async (project, functionName) => {
    const now = await urls.get(project, functionName, null)
    return now && { auth: now.authType === 'NONE' ? 'none' : 'iam', stream: now.invokeMode === 'RESPONSE_STREAM' }
  },
  put: async (project, functionName, wanted) => {
    const now = await urls.get(project, functionName, null)
    if (wanted === false) return now ? await urls.delete(project, functionName, null) : undefined
    const settings = { authType: wanted.auth === 'none' ? 'NONE' : 'AWS_IAM', invokeMode: wanted.stream ? 'RESPONSE_STREAM' : 'BUFFERED' } as const
    await (now ? urls.update(project, functionName, null, settings) : urls.create(project, functionName, null, { cors: null, ...settings }))
  },
})

/** What a deployment sees of queues. */
export const queuesOfDeployment = (queues: Queues): QueuesOfDeployment => ({
  differences: (project, { name, spec }) => {
    const now = queues.find(project, name)
    return now && queueDifferences(now.settings, spec)
  },
  ensure: async (project, { name, spec }) => void (await queues.ensure(project, name, spec)),
  isEmpty: async (project, name) => {
    const now = queues.find(project, name)
    return now && (await queues.isEmpty(now))
  },
  remove: async (project, name) => {
    const now = queues.find(project, name)
    if (now && (await queues.isEmpty(now))) await queues.remove(now, { evenFull: false })
  },
})
