import type { ProjectRef } from '../../core/project.ts'
import type { FunctionRecord } from '../builds.ts'
import { LATEST } from '../builds.ts'
import { isNumber } from '../resolver.ts'
import type { FunctionsService } from '../service.ts'

/** So many sandboxes of one version. */
export interface Target {
  readonly record: FunctionRecord
  readonly count: number
}

/** How it stands with the sandboxes that are kept loaded of a version; told by whoever keeps them. */
export interface Kept {
  readonly requested: number
  readonly available: number
  readonly status: 'IN_PROGRESS' | 'READY' | 'FAILED'
  readonly reason: string | null
  /** What the code said when it did not load. */
  readonly detail?: string
}

/** What a qualifier's number of sandboxes comes to: an alias with a share divides it by weight. Empty when it names nothing. */
export async function targetsOf(
  functions: FunctionsService,
  project: ProjectRef,
  functionName: string,
  { qualifier, requested }: { readonly qualifier: string; readonly requested: number },
): Promise<Target[]> {
  const versions = new Map<string, number>()
  if (qualifier === LATEST || isNumber(qualifier)) versions.set(qualifier, requested)
  else {
    const alias = await functions.aliases.find(project, functionName, qualifier)
    if (!alias) return []
    const other = alias.other === null ? 0 : Math.round(requested * alias.other.weight)
    versions.set(alias.version, requested - other)
    if (alias.other) versions.set(alias.other.version, other)
  }
  const targets: Target[] = []
  for (const [version, count] of versions) {
    const record = count > 0 ? await functions.find(project, functionName, version) : null
    if (record) targets.push({ record, count })
  }
  return targets
}

/** How it stands with all of a qualifier's, of what is known of each version. */
export function keptOf(targets: readonly Target[], stateOf: (versionId: string) => Kept | null): Omit<Kept, 'requested'> {
  const states = targets.map(({ record, count }) => ({ count, kept: stateOf(record.versionId) }))
  const available = states.reduce((sum, { count, kept }) => sum + Math.min(count, kept?.available ?? 0), 0)
  const failed = states.find(({ kept }) => kept?.status === 'FAILED')?.kept
  if (failed) return { available, status: 'FAILED', reason: failed.reason }
  const isReady = states.length > 0 && states.every(({ count, kept }) => kept?.status === 'READY' && kept.requested >= count)
  return { available, status: isReady ? 'READY' : 'IN_PROGRESS', reason: null }
}
