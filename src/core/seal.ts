import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto'
import { promises as fs } from 'node:fs'
import { StartError, writeWhole } from './data-directory.ts'

/** Where a sealed value stands. It opens there and nowhere else. */
export interface SealPlace {
  readonly project: string
  readonly table: string
  readonly column: string
  readonly row: string
}

const FORMAT = 1
const NONCE = 12
const TAG = 16
const HEAD = 1 + NONCE

function encrypt(key: Uint8Array, aad: string, plain: Uint8Array): Buffer {
  const nonce = randomBytes(NONCE)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(Buffer.from(aad))
  const body = Buffer.concat([cipher.update(plain), cipher.final()])
  return Buffer.concat([Buffer.of(FORMAT), nonce, cipher.getAuthTag(), body])
}

function decrypt(key: Uint8Array, aad: string, sealed: Uint8Array): Buffer {
  const bytes = Buffer.from(sealed)
  if (bytes.length < HEAD + TAG || bytes[0] !== FORMAT) throw new SealError()
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(1, HEAD))
    decipher.setAAD(Buffer.from(aad))
    decipher.setAuthTag(bytes.subarray(HEAD, HEAD + TAG))
    return Buffer.concat([decipher.update(bytes.subarray(HEAD + TAG)), decipher.final()])
  } catch {
    throw new SealError()
  }
}

/** A sealed value was changed, stands in another place than it was sealed for, or the key is another. */
export class SealError extends Error {
  constructor() {
    super('a sealed value does not open here: it was changed, moved, or sealed with another key')
    this.name = 'SealError'
  }
}

/** Each part with its length, so that no two places are written alike. */
const aadOf = (place: SealPlace) => [place.project, place.table, place.column, place.row].map((part) => `${part.length}:${part}`).join('/')

/** Seals with AES-256-GCM under the data key of a project; data keys are themselves sealed with the instance key. */
export class Sealer {
  readonly #instanceKey: Uint8Array
  readonly #opened = new Map<string, Buffer>()

  constructor(instanceKey: Uint8Array) {
    this.#instanceKey = instanceKey
  }

  /** A secret that follows from the instance key alone, another for each purpose. */
  derive(purpose: string): Uint8Array {
    return new Uint8Array(hkdfSync('sha256', this.#instanceKey, '', `mayfly/${purpose}`, 32))
  }

  /** A fresh data key for a project, sealed. */
  makeDataKey(projectId: string): Buffer {
    return encrypt(this.#instanceKey, `data-key/${projectId}`, randomBytes(32))
  }

  /** Takes a project's sealed data key into use. @throws SealError when the instance key is another */
  useDataKey(projectId: string, sealed: Uint8Array): void {
    this.#opened.set(projectId, decrypt(this.#instanceKey, `data-key/${projectId}`, sealed))
  }

  forget(projectId: string): void {
    this.#opened.delete(projectId)
  }

  seal(place: SealPlace, plain: Uint8Array): Buffer {
    return encrypt(this.#keyOf(place.project), aadOf(place), plain)
  }

  /** @throws SealError */
  open(place: SealPlace, sealed: Uint8Array): Buffer {
    return decrypt(this.#keyOf(place.project), aadOf(place), sealed)
  }

  #keyOf(projectId: string): Buffer {
    const key = this.#opened.get(projectId)
    if (!key) throw new SealError()
    return key
  }
}

/**
 * The instance key: given, or kept in a file beside instance.json. It is made once, with a new data directory; a
 * directory that has data but no key is not given another one, which would open nothing in it.
 * @throws StartError
 */
export async function instanceKey(options: { readonly file: string; readonly given: string | null; readonly isNew: boolean }): Promise<Buffer> {
  if (options.given !== null) {
    const key = Buffer.from(options.given.trim(), 'base64')
    if (key.length !== 32) throw new StartError('The instance key that was given is not 32 bytes in base64.')
    return key
  }
  const text = await fs.readFile(options.file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw new StartError(`The instance key ${options.file} cannot be read: ${error.message}`)
  })
  if (text !== null) {
    const key = Buffer.from(text.trim(), 'base64')
    if (key.length !== 32) throw new StartError(`The instance key ${options.file} is damaged. Restore it from a backup: nothing sealed opens without it.`)
    return key
  }
  if (!options.isNew)
    throw new StartError(
      `The instance key ${options.file} is missing. Restore it from a backup, or give it with --instance-key-file: nothing sealed in this data directory opens without it.`,
    )
  const key = randomBytes(32)
  await writeWhole(options.file, `${key.toString('base64')}\n`, 0o600)
  return key
}

/** A value that tells whether a key is the one, and nothing about the key. */
export const keyCheck = (key: Uint8Array): string => createHash('sha256').update('mayfly-key-check').update(key).digest('hex').slice(0, 16)
