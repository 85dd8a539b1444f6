import { createHash } from 'node:crypto'
import type { Database } from '../backends/database/database.ts'
import { LIMITS } from '../core/limits.ts'
import type { Clock } from '../lib/clock.ts'
import { randomToken, uuidv7 } from '../lib/ids.ts'
import {
  deleteAllLogins,
  deleteConsoleSession,
  deleteLoginCodesPast,
  deleteSessionsPast,
  insertConsoleSession,
  insertLoginCode,
  selectConsoleSession,
  takeLoginCode,
  touchConsoleSession,
} from './store.ts'

export interface ConsoleSession {
  readonly id: string
  /** Until it ends by itself if nobody uses it. */
  readonly leftMs: number
}

export interface ConsoleSessionsDeps {
  readonly database: Database
  readonly clock: Clock
  readonly sessionHours: number
  readonly idleHours: number
}

const HOUR_MS = 3_600_000
const TOUCH_MS = 60_000
const CODE = /^[\w-]{22}$/
const TOKEN = /^[\w-]{43}$/
const sha256 = (text: string) => createHash('sha256').update(text).digest()

/**
 * Who is signed in to the console: a code that is valid once becomes a token that a browser keeps. Each is random, found
 * by its hash and dated by the database's clock, so that a restart ends no login and a wrong clock of a process no more.
 */
export class ConsoleSessions {
  readonly #deps: ConsoleSessionsDeps
  constructor(deps: ConsoleSessionsDeps) {
    this.#deps = deps
  }

  /** How long a login lasts at most. */
  get longestMs(): number {
    return this.#deps.sessionHours * HOUR_MS
  }

  /** A fresh code of 128 random bits, valid once and for `loginCodeTime`. Past `loginCodes` the oldest is valid no more. */
  async issueCode(): Promise<string> {
    const code = randomToken(16)
    await this.#deps.database.transaction(async (tx) => {
      await insertLoginCode(tx, sha256(code), LIMITS.loginCodeTime.value)
      await deleteLoginCodesPast(tx, LIMITS.loginCodes.value)
    })
    return code
  }

  /** Gives a token for a code, which is spent by it; null when it is none that is valid. */
  async signIn(code: string): Promise<{ readonly token: string; readonly id: string } | null> {
    if (!CODE.test(code)) return null
    const token = randomToken(32)
    const id = uuidv7(this.#deps.clock.now())
    return await this.#deps.database.transaction(async (tx) => {
      // Of two that send one code at once, the second waits for the first and then finds no row.
      const [taken] = await takeLoginCode(tx, sha256(code))
      if (!taken) return null
      await insertConsoleSession(tx, { id, hash: sha256(token), lastsMs: this.longestMs })
      await deleteSessionsPast(tx, LIMITS.consoleSessions.value, this.#deps.idleHours * HOUR_MS)
      return { token, id }
    })
  }

  /** The session of a token, asked anew each time: who signed out is out at once. */
  async verify(token: string): Promise<ConsoleSession | null> {
    if (!TOKEN.test(token)) return null
    const { sql } = this.#deps.database
    const [row] = await selectConsoleSession(sql, sha256(token), this.#deps.idleHours * HOUR_MS)
    if (!row) return null
    if (row.unusedMs >= TOUCH_MS) await touchConsoleSession(sql, row.id)
    return { id: row.id, leftMs: row.leftMs }
  }

  async signOut(id: string): Promise<void> {
    await deleteConsoleSession(this.#deps.database.sql, id)
  }

  /** Ends every session and forgets every code. @returns how many sessions there were */
  async endAll(): Promise<number> {
    return await this.#deps.database.transaction(async (tx) => (await deleteAllLogins(tx)).length)
  }
}
