import { MayflyError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Clock } from '../lib/clock.ts'
import type { DriverName, Problem, RuntimeName } from './types.ts'

const FIRST_PAUSE_MS = 500
const MAX_PAUSE_MS = 30_000
/** So many starts in a row have failed: then it is no accident, and calls wait for no more of them. */
const DOWN_AFTER = 3

/** What fails by itself: one driver that makes no sandbox says nothing of another. */
export interface Bootable {
  readonly runtime: RuntimeName
  /** Null: the node's own. */
  readonly driver: DriverName | null
}

interface Failing {
  count: number
  why: string
  told: string | null
  pauseMs: number
  failedAtMs: number
}

/**
 * Which runtimes do not start. One that fails is tried again after growing pauses, by whoever comes then; meanwhile calls
 * are told at once, instead of each starting one in vain. What changes is told in the log once.
 */
export class BootHealth {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #log: Log
  readonly #failing = new Map<string, Failing>()

  constructor(clock: Pick<Clock, 'monotonic'>, log: Log) {
    this.#clock = clock
    this.#log = log
  }

  /** How long none of it should be started for nobody. */
  pauseMs(one: Bootable): number {
    const failing = this.#failing.get(nameOf(one))
    return failing ? Math.max(0, failing.failedAtMs + failing.pauseMs - this.#clock.monotonic()) : 0
  }

  /** Before one is started for a call. @throws MayflyError sandbox_unavailable */
  check(one: Bootable): void {
    const failing = this.#failing.get(nameOf(one))
    const pauseMs = this.pauseMs(one)
    if (!failing || failing.count < DOWN_AFTER || pauseMs === 0) return
    throw new MayflyError(
      'sandbox_unavailable',
      failing.told ?? `sandboxes of ${nameOf(one)} do not start; it is tried again in ${Math.ceil(pauseMs / 1000)} s, and the log of the node says why`,
    )
  }

  /**
   * @param beganMs  when the start began that has failed: those that were under way together are one failure
   * @param told     what whoever calls may know of it, instead of where to look
   */
  failed(one: Bootable, why: string, beganMs: number, told: string | null = null): void {
    const now = this.#clock.monotonic()
    const runtime = nameOf(one)
    const failing = this.#failing.get(runtime)
    if (failing?.why !== why) this.#log.error({ runtime, error: why }, 'a sandbox did not start')
    if (!failing) {
      this.#failing.set(runtime, { count: 1, why, told, pauseMs: FIRST_PAUSE_MS, failedAtMs: now })
      return
    }
    failing.why = why
    failing.told = told
    if (beganMs < failing.failedAtMs) return
    failing.count++
    failing.pauseMs = Math.min(MAX_PAUSE_MS, failing.pauseMs * 2)
    failing.failedAtMs = now
    if (failing.count === DOWN_AFTER) this.#log.error({ runtime, error: why }, 'sandboxes of a runtime do not start; it is tried again, every 30 s at last')
  }

  worked(one: Bootable): void {
    const runtime = nameOf(one)
    const failing = this.#failing.get(runtime)
    if (!failing) return
    this.#failing.delete(runtime)
    if (failing.count >= DOWN_AFTER) this.#log.info({ runtime }, 'sandboxes of a runtime start again')
  }

  problems(): Problem[] {
    return [...this.#failing]
      .filter(([, { count }]) => count >= DOWN_AFTER)
      .map(([runtime, { why }]) => ({
        what: `runtime ${runtime}`,
        why: `its sandboxes do not start: ${why}`,
        todo: 'It is tried again by itself. The log of the node says more; `npx mayfly doctor` looks at the machine.',
      }))
  }
}

const nameOf = ({ runtime, driver }: Bootable): string => (driver === null ? runtime : `${runtime} by ${driver}`)
