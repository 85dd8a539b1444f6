import type { ProjectRef } from './core/project.ts'

/** The project that every node has. */
export const DEFAULT_PROJECT = 'demo' as ProjectRef
/** What AWS's clients are told; a signature for any region is accepted. */
export const REGION = 'us-east-1'
