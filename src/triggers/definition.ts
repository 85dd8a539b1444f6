import { isDeepStrictEqual } from 'node:util'
import { MayflyError } from '../core/errors.ts'
import { tidiedTrigger, type TriggerSpec, triggersSpecSchema } from '../core/trigger-spec.ts'

/** A source with what is asked of it, in one form however it was written: then equal ones are found equal. */
export type Definition = (ObjectDefinition | KeptDefinition) & {
  /** False while it waits for nothing. */
  readonly enabled?: false
}

export interface ObjectDefinition {
  readonly kind: 'object'
  readonly object: {
    readonly bucket: string
    readonly events: readonly string[]
    /** Empty for any. */
    readonly prefix: readonly string[]
    /** In small letters; empty for any. */
    readonly suffix: readonly string[]
  }
}

type Kept = { readonly [K in keyof Omit<Required<TriggerSpec>, 'object' | 'enabled'>]: NonNullable<TriggerSpec[K]> }

/** As it was sent. */
export type KeptDefinition = { readonly [K in keyof Kept]: { readonly kind: K } & { readonly [P in K]: Kept[K] } }[keyof Kept]

/** @throws MayflyError bad_request that names each wrong field and what it may be */
export function parseTriggers(given: unknown): TriggerSpec[] {
  const parsed = triggersSpecSchema.safeParse(given)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map((issue) => `${['triggers', ...issue.path].map(String).join('.')}: ${issue.message}`)
  throw new MayflyError('bad_request', problems.slice(0, 10).join('; '))
}

export function definitionOf(spec: TriggerSpec): Definition {
  const { object, enabled, ...others } = tidiedTrigger(spec)
  const rests = enabled === false ? ({ enabled: false } as const) : {}
  const [source] = Object.entries(others)
  // Of one source: that is checked where it comes in.
  if (source !== undefined) return { kind: source[0], [source[0]]: source[1], ...rests } as unknown as KeptDefinition
  if (!object) throw new MayflyError('bad_request', 'triggers: a trigger has exactly one source')
  return { kind: 'object', object: { bucket: object.bucket, events: object.events, prefix: object.prefix ?? [], suffix: object.suffix ?? [] }, ...rests }
}

/** As it may be sent again. */
export function specOf(definition: Definition): TriggerSpec {
  if (definition.kind !== 'object') {
    const { kind: _, ...spec } = definition
    return spec
  }
  const { object } = definition
  return {
    ...(definition.enabled === false ? { enabled: false } : {}),
    object: {
      bucket: object.bucket,
      events: object.events.filter((event) => event === 'created' || event === 'removed'),
      ...(object.prefix.length > 0 ? { prefix: [...object.prefix] } : {}),
      ...(object.suffix.length > 0 ? { suffix: [...object.suffix] } : {}),
    },
  }
}

/**
 * What has to go and to come so that `before` says what `wanted` says; the order means nothing, and one that stands
 * twice in `wanted` is made once.
 */
export function changesOf<T extends { readonly definition: unknown }>(before: readonly T[], wanted: readonly Definition[]): { gone: T[]; come: Definition[] } {
  const come: Definition[] = []
  const kept = new Set<T>()
  for (const definition of wanted) {
    const same = before.find((one) => isDeepStrictEqual(one.definition, definition))
    if (same) kept.add(same)
    else if (!come.some((one) => isDeepStrictEqual(one, definition))) come.push(definition)
  }
  return { gone: before.filter((one) => !kept.has(one)), come }
}
