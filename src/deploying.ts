import type { BucketsOfDeployment, TriggersOfDeployment } from './deployments/index.ts'
import { MayflyError } from './core/errors.ts'
import type { Project, ProjectRef } from './core/project.ts'
import { StoredArchives } from './functions/index.ts'
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
  put: async (project, functionName, specs) => void (await triggers.put(project, functionName, specs)),
})
