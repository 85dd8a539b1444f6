import { LIMITS } from '../core/limits.ts'
import type { ColdReason, SandboxSpec } from './types.ts'

type Ended = 'idle-drop' | 'sandbox-lost' | 'new-version'

interface Past {
  key: string
  /** Why its last sandbox ended, as far as that is known. */
  ended: Ended | null
}

/** Remembers what has loaded here and how it went away, so that a call can be told why it found nothing ready. */
export class ColdReasons {
  readonly #pasts = new Map<string, Past>()
  readonly #knownBefore: (key: string) => boolean

  /** @param knownBefore  whether a version was there before this life of the node */
  constructor(knownBefore: (key: string) => boolean) {
    this.#knownBefore = knownBefore
  }

  /** @param isThere  another sandbox of this version serves, or is on its way */
  why(spec: SandboxSpec, isThere: boolean): ColdReason {
    if (spec.reuse === 'never') return 'reuse-never'
    if (isThere) return 'scale-out'
    const past = this.#pasts.get(nameOf(spec))
    if (!past) return this.#knownBefore(spec.key) ? 'node-restart' : 'first-call'
    if (past.key !== spec.key) return 'new-version'
    return past.ended ?? 'scale-out'
  }

  hasLoaded(spec: SandboxSpec): boolean {
    const past = this.#pasts.get(nameOf(spec))
    return past ? past.key === spec.key : this.#knownBefore(spec.key)
  }

  /** The code has loaded: until then the version was never there. */
  loaded(spec: SandboxSpec): void {
    const name = nameOf(spec)
    this.#pasts.delete(name)
    this.#pasts.set(name, { key: spec.key, ended: null })
    if (this.#pasts.size > LIMITS.rememberedVersions.value) this.#pasts.delete(this.#pasts.keys().next().value as string)
  }

  ended(spec: SandboxSpec, why: Ended): void {
    const past = this.#pasts.get(nameOf(spec))
    if (past?.key === spec.key) past.ended = why
  }

  /** A sandbox is gone; whoever ended it has said so before. */
  gone(spec: SandboxSpec): void {
    const past = this.#pasts.get(nameOf(spec))
    if (past?.key === spec.key) past.ended ??= 'sandbox-lost'
  }
}

/** What is remembered under one name: $LATEST of a function, whose builds follow each other, or one published version. */
const nameOf = ({ identity, context }: SandboxSpec) => `${identity.project}/${identity.functionName}:${context.functionVersion}`
