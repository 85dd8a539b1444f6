import type { ProjectRef } from './core/project.ts'

/** The project that every node has. */
export const DEFAULT_PROJECT = 'demo' as ProjectRef
/** What AWS's clients are told; a signature for any region is accepted. */
export const REGION = 'us-east-1'

/** A project's address, as the world sees it. */
export const projectUrl = (url: string, ref: ProjectRef): string => (ref === DEFAULT_PROJECT ? url : `${url}/p/${ref}`)
/** Who issues the tokens of its users. */
export const issuerOf = (url: string, ref: ProjectRef): string => `${projectUrl(url, ref)}/auth/v1`
