import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import { LIMITS } from '../core/limits.ts'

export const CODINGS = ['br', 'gzip'] as const
export type Coding = (typeof CODINGS)[number]

const byBrotli = promisify(brotliCompress)
const byGzip = promisify(gzip)
/** A first reader waits for it: of 10 levels the middle gives most of what there is to gain. */
const BROTLI_QUALITY = 5
/** Below this the headers are more than what is saved. */
const LEAST_BYTES = 1_000

const TEXT = /^(?:text\/|image\/svg\+xml|application\/(?:json|xml|wasm|manifest\+json|[\w.-]+\+(?:json|xml))|font\/[ot]tf)/

/** Whether a file of a site is told in fewer bytes to who takes them. */
export const isCompressible = (type: string, bytes: number): boolean => bytes >= LEAST_BYTES && bytes <= LIMITS.compressedSiteFile.value && TEXT.test(type)

/** So many are held whole in memory, and in the threads of the process, at once. */
const AT_ONCE = 4

interface Kept {
  readonly made: Promise<Buffer>
  /** 0 until it is made. */
  bytes: number
}

/** Files in fewer bytes, made when they are first asked for; the latest used of them are kept, by the hash of the content. */
export class Compressed {
  readonly #kept = new Map<string, Kept>()
  #bytes = 0
  #running = 0

  /** Bytes that are kept. */
  get bytes(): number {
    return this.#bytes
  }

  /** Null when too many others are being made: the file is sent as it is then. */
  async get(sha256: string, coding: Coding, read: () => Promise<Uint8Array>): Promise<Buffer | null> {
    const key = `${sha256} ${coding}`
    const known = this.#kept.get(key)
    if (known) {
      // The latest used stands last.
      this.#kept.delete(key)
      this.#kept.set(key, known)
      return await known.made
    }
    if (this.#running >= AT_ONCE) return null
    this.#running++
    const kept: Kept = { made: compress(coding, read), bytes: 0 }
    this.#kept.set(key, kept)
    try {
      const made = await kept.made
      kept.bytes = made.length
      this.#bytes += made.length
      this.#shrink()
      return made
    } catch (error) {
      this.#kept.delete(key)
      throw error
    } finally {
      this.#running--
    }
  }

  #shrink(): void {
    for (const [key, { bytes }] of this.#kept) {
      if (this.#bytes <= LIMITS.compressedSites.value) return
      if (bytes === 0) continue
      this.#kept.delete(key)
      this.#bytes -= bytes
    }
  }
}

async function compress(coding: Coding, read: () => Promise<Uint8Array>): Promise<Buffer> {
  const bytes = await read()
  return coding === 'gzip' ? await byGzip(bytes) : await byBrotli(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY } })
}
