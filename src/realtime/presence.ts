type Meta = Readonly<Record<string, unknown>> & { readonly phx_ref: string }
export type PresenceState = Readonly<Record<string, { readonly metas: readonly Meta[] }>>
export interface PresenceDiff {
  readonly joins: PresenceState
  readonly leaves: PresenceState
}

/** Who is present in a channel: what each member says of itself, under its key; several members may share one. */
export class Presence {
  readonly #metas = new Map<object, { readonly key: string; readonly meta: Meta }>()
  #refs = 0

  track(member: object, key: string, payload: Readonly<Record<string, unknown>>): PresenceDiff {
    const before = this.#metas.get(member)
    const meta: Meta = { ...payload, phx_ref: (++this.#refs).toString(36), ...(before ? { phx_ref_prev: before.meta.phx_ref } : {}) }
    this.#metas.set(member, { key, meta })
    return { joins: { [key]: { metas: [meta] } }, leaves: before ? { [before.key]: { metas: [before.meta] } } : {} }
  }

  /** @returns null when it was not there */
  untrack(member: object): PresenceDiff | null {
    const before = this.#metas.get(member)
    if (!before) return null
    this.#metas.delete(member)
    return { joins: {}, leaves: { [before.key]: { metas: [before.meta] } } }
  }

  get state(): PresenceState {
    // Keys are the users' own words: an object without a prototype takes them all.
    const state = Object.create(null) as Record<string, { metas: Meta[] }>
    for (const { key, meta } of this.#metas.values()) {
      state[key] ??= { metas: [] }
      state[key].metas.push(meta)
    }
    return state
  }
}
