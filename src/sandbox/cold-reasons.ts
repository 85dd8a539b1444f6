import { LIMITS } from '../core/limits.ts'
import type { ColdReason, SandboxSpec } from './types.ts'

type Ended = 'idle-drop' | 'sandbox-lost' | 'new-version'

interface Past {
  key: string
  /** Why its last sandbox ended, as far as that is known. */
  ended: Ended | null
  /** What its first call is told until there was one: what is loaded ahead of it may end before it comes. Null from then on. */
  untilCalled: ColdReason | null
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
    return past.ended === null ? 'scale-out' : (past.untilCalled ?? past.ended)
  }

  hasLoaded(spec: SandboxSpec): boolean {
    const past = this.#pasts.get(nameOf(spec))
    return past ? past.key === spec.key : this.#knownBefore(spec.key)
  }

  /** The code has loaded: until then the version was never there. */
  loaded(spec: SandboxSpec): void {
    const name = nameOf(spec)
    const past = this.#pasts.get(name)
    const untilCalled = past?.key === spec.key ? past.untilCalled : this.why(spec, false)
    this.#pasts.delete(name)
    this.#pasts.set(name, { key: spec.key, ended: null, untilCalled })
    if (this.#pasts.size > LIMITS.rememberedVersions.value) this.#pasts.delete(this.#pasts.keys().next().value as string)
  }

  /** One is being ended. @param wasCalled  it served a call in its life */
  ended(spec: SandboxSpec, why: Ended, wasCalled: boolean): void {
    const past = this.#pasts.get(nameOf(spec))
    if (past?.key !== spec.key) return
    past.ended = why
    if (wasCalled) past.untilCalled = null
  }

  /** One is gone; whoever ended it has said so before. */
  gone(spec: SandboxSpec, wasCalled: boolean): void {
    const past = this.#pasts.get(nameOf(spec))
    if (past?.key === spec.key) this.ended(spec, past.ended ?? 'sandbox-lost', wasCalled)
  }
}

/** What is remembered under one name: $LATEST of a function, whose builds follow each other, or one published version. */
const nameOf = ({ identity, context }: SandboxSpec) => `${identity.project}/${identity.functionName}:${context.functionVersion}`
