/** A project's short name in host names, paths and keys: 3 to 40 of a-z, 0-9 and hyphens inside, beginning with a letter. */
export type ProjectRef = string & { readonly brand: 'ProjectRef' }

const REF = /^[a-z][a-z0-9-]{1,38}[a-z0-9]$/

/** The ref, or null when the text is not one. */
export function parseProjectRef(text: string): ProjectRef | null {
  return REF.test(text) ? (text as ProjectRef) : null
}

/** DESIGN invariant 4: control holds the desired state, a reconciler makes the project's database equal to it. */
export type ProjectState = 'creating' | 'active' | 'deleting'

export interface Project {
  readonly id: string
  readonly ref: ProjectRef
  readonly name: string
  readonly state: ProjectState
}
