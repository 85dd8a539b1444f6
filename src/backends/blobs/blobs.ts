import type { ByteRange } from '../../lib/http-conditions.ts'

/** What `put` has stored, once it can be lost no more. */
export interface StoredBlob {
  /** 32 hexadecimal digits, fresh and unguessable. */
  readonly name: string
  readonly bytes: number
  /** MD5 of the bytes in hexadecimal digits: what HTTP and S3 clients expect as the entity tag. */
  readonly md5: string
}

/** An open blob: deleted meanwhile, it can still be read to its end. */
export interface OpenBlob extends AsyncDisposable {
  readonly bytes: number
  /** May be taken once; closes the blob whichever way it ends. @throws Error when the stored bytes are fewer than they were */
  read(range?: ByteRange): AsyncIterable<Uint8Array>
}

export interface ListedBlob {
  readonly name: string
  /** False for what a put has not finished, or never will. */
  readonly whole: boolean
  /** Milliseconds since it was last written to. */
  readonly ageMs: number
}

/**
 * Bytes under names that nobody chooses, apart by place (a project's id). What they are is said elsewhere, in rows.
 * @throws Error with code `ENOSPC` (or `EDQUOT`) when there is no space for more
 */
export interface Blobs extends AsyncDisposable {
  /** Stores all of `body`, or nothing. Resolves when neither a kill nor a power cut can take it away. */
  put(place: string, body: AsyncIterable<Uint8Array>): Promise<StoredBlob>
  /** The same bytes under a name of their own, as durable as by `put`. Null when there is no such blob. */
  copy(place: string, name: string): Promise<string | null>
  /** Gives a place what another one holds, under the same names; whoever calls it sees to it that none is deleted meanwhile. Idempotent. */
  clone(from: string, to: string): Promise<void>
  /** Null when there is no such blob. */
  open(place: string, name: string): Promise<OpenBlob | null>
  /** Those that are not there count as deleted. */
  delete(place: string, names: readonly string[]): Promise<void>
  list(place: string): AsyncIterable<ListedBlob>
  /** The places that hold or held something. */
  places(): Promise<readonly string[]>
  /** Removes a place with all that is in it. Idempotent. */
  drop(place: string): Promise<void>
}
