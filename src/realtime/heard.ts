import type { Databases } from '../backends/database/database.ts'
import { Listener } from '../backends/database/listener.ts'
import type { Log } from '../core/log.ts'
import type { Clock } from '../lib/clock.ts'
import { Notices, type Said } from './notices.ts'

export interface HeardDeps {
  readonly project: string
  readonly databases: Databases
  readonly clock: Clock
  readonly log: Log
  readonly hear: (said: Said) => void
}

const CHANNEL = 'mayfly_broadcast'
const FIRST_RETRY_MS = 250
const LAST_RETRY_MS = 10_000

/** Hears what SQL says in the channels of one project (`realtime.send`), from its making until it is disposed of. */
export class Heard implements AsyncDisposable {
  readonly #deps: HeardDeps
  readonly #ended = new AbortController()
  readonly #done: Promise<void>
  #attempt = Promise.withResolvers<void>()
  #isTrying = true

  constructor(deps: HeardDeps) {
    this.#deps = deps
    this.#done = this.#run(this.#ended.signal)
  }

  /** Resolves when what is committed from then on is heard, or when that could not be had for now; null when nothing is on its way. */
  get ready(): Promise<void> | null {
    return this.#isTrying ? this.#attempt.promise : null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort()
    await this.#done
  }

  /** Listens, and begins again with a gap when the connection is lost. */
  async #run(signal: AbortSignal): Promise<void> {
    const { clock, log, project } = this.#deps
    const ended = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    let pause = FIRST_RETRY_MS
    while (!signal.aborted) {
      this.#isTrying = true
      try {
        const lost = Promise.withResolvers<void>()
        const notices = new Notices()
        const connection = await this.#deps.databases.projectConnection(project)
        await using _listener = await Listener.open(connection, CHANNEL, (notice) => this.#hear(notices, notice), lost.resolve)
        pause = FIRST_RETRY_MS
        this.#tried()
        await Promise.race([lost.promise, ended])
        if (signal.aborted) return
        log.warn({ project }, 'what SQL says in channels may have been lost: the connection to the database broke off')
      } catch (error) {
        if (signal.aborted) return
        // Said once, though it is tried again and again.
        if (pause === FIRST_RETRY_MS)
          log.warn({ project, error: error instanceof Error ? error.message : String(error) }, 'what SQL says in channels is not heard')
      }
      this.#tried()
      await clock.sleep(pause, signal).catch(() => {})
      pause = Math.min(pause * 2, LAST_RETRY_MS)
    }
  }

  #tried(): void {
    this.#isTrying = false
    this.#attempt.resolve()
    this.#attempt = Promise.withResolvers()
  }

  #hear(notices: Notices, notice: string): void {
    const said = this.#ended.signal.aborted ? null : notices.take(notice)
    if (said) this.#deps.hear(said)
  }
}
