import { argon2, randomBytes, timingSafeEqual } from 'node:crypto'
import { LIMITS } from '../../core/limits.ts'
import { fitsBcrypt, isBcrypt } from './bcrypt.ts'
import { AuthError } from './errors.ts'

/** Of OWASP's password storage cheat sheet for argon2id: 19 MiB, 2 passes, 1 lane. */
export const ARGON2 = { memory: 19_456, passes: 2, parallelism: 1, tagLength: 32 } as const
const NONCE_BYTES = 16

interface Stored {
  readonly memory: number
  readonly passes: number
  readonly parallelism: number
  readonly nonce: Buffer
  readonly tag: Buffer
}

const derive = (password: string, { memory, passes, parallelism, nonce, tagLength }: Omit<Stored, 'tag'> & { readonly tagLength: number }): Promise<Buffer> =>
  new Promise((resolve, reject) =>
    argon2('argon2id', { message: Buffer.from(password, 'utf8'), nonce, memory, passes, parallelism, tagLength }, (error, tag) =>
      error ? reject(error) : resolve(tag),
    ),
  )

const text = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')
const PHC = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,88})\$([A-Za-z0-9+/]{16,88})$/

/** Null for what is no hash of ours: nobody signs in by it. */
export function readHash(hash: string | null): Stored | null {
  const parts = hash === null ? null : PHC.exec(hash)
  if (!parts) return null
  const [, memory, passes, parallelism, nonce, tag] = parts as unknown as [string, string, string, string, string, string]
  const stored = {
    memory: Number(memory),
    passes: Number(passes),
    parallelism: Number(parallelism),
    nonce: Buffer.from(nonce, 'base64'),
    tag: Buffer.from(tag, 'base64'),
  }
  const isBounded =
    stored.memory <= LIMITS.passwordHashMemory.value &&
    stored.passes >= 1 &&
    stored.passes <= 10 &&
    stored.parallelism >= 1 &&
    stored.memory >= 8 * stored.parallelism
  return isBounded ? stored : null
}

/**
 * Hashes of passwords, made and checked beside the thread that serves: so many at once that calls find a processor, the
 * others in order behind them.
 */
export class Passwords {
  readonly #atOnce: number
  #running = 0
  readonly #waiting: (() => void)[] = []
  /** Of no password: checked where there is no user, so that it takes as long. */
  readonly #nobody: Stored = { ...ARGON2, nonce: randomBytes(NONCE_BYTES), tag: randomBytes(ARGON2.tagLength) }

  /** @param cores  of the machine: half of them hash at most */
  constructor(cores: number) {
    this.#atOnce = Math.max(1, Math.floor(cores / 2))
  }

  /** @throws AuthError over_request_rate_limit when too many wait */
  async hash(password: string): Promise<string> {
    const nonce = randomBytes(NONCE_BYTES)
    const tag = await this.#inTurn(() => derive(password, { ...ARGON2, nonce }))
    return `$argon2id$v=19$m=${ARGON2.memory},t=${ARGON2.passes},p=${ARGON2.parallelism}$${text(nonce)}$${text(tag)}`
  }

  /** Takes as long for a hash that is none, and for no user; longer for one of bcrypt, which is there until its user's next sign-in. @throws AuthError over_request_rate_limit when too many wait */
  async fits(password: string, hash: string | null): Promise<boolean> {
    if (isBcrypt(hash)) return await this.#inTurn(() => fitsBcrypt(password, hash))
    const stored = readHash(hash)
    const against = stored ?? this.#nobody
    const tag = await this.#inTurn(() => derive(password, { ...against, tagLength: against.tag.length }))
    return timingSafeEqual(tag, against.tag) && stored !== null
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#atOnce) this.#running++
    else {
      if (this.#waiting.length >= LIMITS.passwordHashesWaiting.value)
        throw new AuthError('over_request_rate_limit', 'Too many sign-ins at once, try again in a moment')
      await new Promise<void>((resolve) => this.#waiting.push(resolve)) // its place is handed on
    }
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#running--
    }
  }
}
