import type { ProjectRef } from './core/project.ts'
import type { FunctionsService } from './functions/index.ts'
import { homeOf } from './home-key.ts'
import type { Specs } from './invoke/index.ts'
import type { Clock } from './lib/clock.ts'
import type { Sandboxes } from './sandbox/index.ts'

/** How long calls are counted before it is said again whether there are many. */
const LOOK_MS = 500
/**
 * So many handed-on calls that ended in a look make a function one that is served here too: what a hand-over costs
 * (a quarter of a millisecond in each of two processes) has paid for a sandbox of its own after a few seconds. Those that
 * came and have not ended yet say nothing of how many more will: a thousand that wait in one sandbox stay there together.
 */
const COMES = 40
/** With fewer in each look of so long it is handed on again; its sandboxes here are idle then, and go as others do. */
const STAYS = 10
const STAYS_MS = 30_000
/** A function that could not be brought here is tried again after so long. */
const AGAIN_MS = 10_000
const MAX_KNOWN = 10_000

interface Seen {
  calls: number
  since: number
  /** When it was last called often enough to stay. */
  busyAt: number
  state: 'away' | 'coming' | 'here'
  /** Not before. */
  againAt: number
}

/**
 * Which functions that live in another process are called so often by way of this one that it serves them itself: where the
 * processes share few processors a home is never too busy for its calls, and each hand-over costs as much as it would to serve.
 * Nobody waits for it: calls are handed on until a sandbox has loaded here.
 */
export class BusyHere {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #bring: (key: string) => Promise<boolean>
  readonly #seen = new Map<string, Seen>()

  /** @param bring  has a sandbox of the function load in this process; false where there is no room for it */
  constructor(clock: Pick<Clock, 'monotonic'>, bring: (key: string) => Promise<boolean>) {
    this.#clock = clock
    this.#bring = bring
  }

  /** Whether a call that would be handed on is served here instead. */
  serves(key: string): boolean {
    const now = this.#clock.monotonic()
    const seen = this.#seen.get(key)
    if (!seen) {
      if (this.#seen.size >= MAX_KNOWN) this.#seen.clear()
      this.#seen.set(key, { calls: 0, since: now, busyAt: now, state: 'away', againAt: 0 })
      return false
    }
    if (seen.state !== 'here') return false
    this.#count(key, seen, now)
    return seen.state === 'here'
  }

  /** A call that was handed on is over. */
  ended(key: string): void {
    const seen = this.#seen.get(key)
    if (seen) this.#count(key, seen, this.#clock.monotonic())
  }

  #count(key: string, seen: Seen, now: number): void {
    seen.calls++
    if (now - seen.since >= LOOK_MS) this.#look(key, seen, now)
  }

  #look(key: string, seen: Seen, now: number): void {
    // A look is as long as calls are apart: few of them take longer.
    const calls = (seen.calls * LOOK_MS) / (now - seen.since)
    seen.calls = 0
    seen.since = now
    if (calls >= STAYS) seen.busyAt = now
    if (seen.state === 'here' && now - seen.busyAt > STAYS_MS) seen.state = 'away'
    if (seen.state !== 'away' || calls < COMES || now < seen.againAt) return
    seen.state = 'coming'
    void this.#bring(key)
      .catch(() => false)
      .then((isHere) => {
        seen.state = isHere ? 'here' : 'away'
        if (!isHere) seen.againAt = this.#clock.monotonic() + AGAIN_MS
      })
  }
}

/** Has $LATEST of a function load in this process; other versions of it load when they are called. */
export const bringHere =
  (room: { readonly functions: Pick<FunctionsService, 'resolve'>; readonly specs: Pick<Specs, 'of'> }, sandboxes: Pick<Sandboxes, 'start' | 'hasLoaded'>) =>
  async (key: string): Promise<boolean> => {
    const { project, functionName } = homeOf(key)
    const spec = room.specs.of(await room.functions.resolve(project as ProjectRef, functionName))
    await sandboxes.start(spec)
    return sandboxes.hasLoaded(spec)
  }
