/** The messages of PostgreSQL's output plugin that speak of rows. @see https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html */

export interface Column {
  readonly name: string
  readonly typeOid: number
}
/** A table as it was when the changes after it were made. */
export interface Relation {
  readonly oid: number
  readonly schema: string
  readonly name: string
  readonly columns: readonly Column[]
}
/** The text of a column, null, or undefined: not said (an old row without it, a large value that did not change). */
export type Value = string | null | undefined
export type Tuple = readonly Value[]

export interface Change {
  readonly type: 'INSERT' | 'UPDATE' | 'DELETE'
  readonly relation: Relation
  /** Its transaction. */
  readonly xid: number
  /** Microseconds since 1970 are lost to JavaScript's dates; milliseconds are what clients are told. */
  readonly committedAt: number
  readonly record: Tuple | null
  /** Its identity columns, or all with REPLICA IDENTITY FULL. */
  readonly old: Tuple | null
}

export class ProtocolError extends Error {}

const EPOCH_MS = 946_684_800_000
const [BEGIN, RELATION, INSERT, UPDATE, DELETE] = ['B', 'R', 'I', 'U', 'D'].map((letter) => letter.charCodeAt(0))
const [NEW, KEY, OLD] = ['N', 'K', 'O'].map((letter) => letter.charCodeAt(0))
const [IS_NULL, IS_UNCHANGED, IS_TEXT] = ['n', 'u', 't'].map((letter) => letter.charCodeAt(0))

/** Reads one stream; it has to see every message, as tables are told once. */
export class Decoder {
  readonly #relations = new Map<number, Relation>()
  readonly #wanted: (relation: Relation) => boolean
  #committedAt = 0
  #xid = 0

  /** @param wanted  changes of other tables are passed over unread */
  constructor(wanted: (relation: Relation) => boolean) {
    this.#wanted = wanted
  }

  /** @returns null for what changes no row that is wanted. @throws ProtocolError, RangeError for bytes that are no message */
  read(message: Buffer): Change | null {
    const reader = new Reader(message)
    switch (reader.byte()) {
      case BEGIN:
        reader.skip(8)
        this.#committedAt = EPOCH_MS + Number(reader.int64() / 1_000n)
        this.#xid = reader.uint32()
        return null
      case RELATION:
        this.#relation(reader)
        return null
      case INSERT:
        return this.#change(reader, 'INSERT')
      case UPDATE:
        return this.#change(reader, 'UPDATE')
      case DELETE:
        return this.#change(reader, 'DELETE')
      default:
        return null
    }
  }

  #relation(reader: Reader): void {
    const oid = reader.uint32()
    const schema = reader.text() || 'pg_catalog'
    const name = reader.text()
    reader.skip(1)
    const columns: Column[] = []
    for (let left = reader.uint16(); left > 0; left--) {
      reader.skip(1)
      columns.push({ name: reader.text(), typeOid: reader.uint32() })
      reader.skip(4)
    }
    this.#relations.set(oid, { oid, schema, name, columns })
  }

  #change(reader: Reader, type: Change['type']): Change | null {
    const oid = reader.uint32()
    const relation = this.#relations.get(oid)
    if (!relation) throw new ProtocolError(`a change of a table that was not told: ${oid}`)
    if (!this.#wanted(relation)) return null
    let old: Tuple | null = null
    let record: Tuple | null = null
    let kind = reader.byte()
    if (kind === KEY || kind === OLD) {
      // Of a key, columns that are not in it are written as null.
      const inKeyOnly = kind === KEY
      old = this.#tuple(reader, inKeyOnly)
      if (type === 'UPDATE') kind = reader.byte()
    }
    if (type !== 'DELETE') {
      if (kind !== NEW) throw new ProtocolError(`a row of kind ${kind}`)
      record = this.#tuple(reader, false)
      // A large value that did not change is taken from the old row where that is known.
      if (old) record = record.map((value, at) => (value === undefined ? (old as Tuple)[at] : value))
    }
    return { type, relation, xid: this.#xid, committedAt: this.#committedAt, record, old }
  }

  #tuple(reader: Reader, nullIsUnsaid: boolean): Value[] {
    const values: Value[] = []
    for (let left = reader.uint16(); left > 0; left--) {
      const kind = reader.byte()
      if (kind === IS_NULL) values.push(nullIsUnsaid ? undefined : null)
      else if (kind === IS_UNCHANGED) values.push(undefined)
      else if (kind === IS_TEXT) values.push(reader.string(reader.uint32()))
      else throw new ProtocolError(`a value of kind ${kind}`)
    }
    return values
  }
}

class Reader {
  readonly #bytes: Buffer
  #at = 0
  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }
  skip(bytes: number): void {
    this.#at += bytes
  }
  byte(): number {
    return this.#bytes.readUInt8(this.#at++)
  }
  uint16(): number {
    this.#at += 2
    return this.#bytes.readUInt16BE(this.#at - 2)
  }
  uint32(): number {
    this.#at += 4
    return this.#bytes.readUInt32BE(this.#at - 4)
  }
  int64(): bigint {
    this.#at += 8
    return this.#bytes.readBigInt64BE(this.#at - 8)
  }
  /** Up to a zero byte. */
  text(): string {
    const end = this.#bytes.indexOf(0, this.#at)
    if (end === -1) throw new ProtocolError('a text without end')
    const text = this.#bytes.toString('utf8', this.#at, end)
    this.#at = end + 1
    return text
  }
  string(bytes: number): string {
    if (this.#at + bytes > this.#bytes.length) throw new ProtocolError('a value past the end')
    this.#at += bytes
    return this.#bytes.toString('utf8', this.#at - bytes, this.#at)
  }
}
