import pg from 'pg'

/** A statement with its values: `$1`… in the text. Values are texts, numbers, lists of texts or null. */
export interface Statement {
  readonly text: string
  readonly values: readonly unknown[]
}
export interface StatementResult {
  /** The command tag, such as `COMMIT`. */
  readonly tag: string
  readonly rows: readonly Readonly<Record<string, unknown>>[]
}

interface Field {
  readonly name: string
  readonly read: (text: string) => unknown
}
/** What a session has parsed, by name, with the columns of its answers; `doubtful` where it failed before it was known. */
export type Parsed = Map<string, readonly Field[] | 'doubtful'>

/** A statement and the name by which its session may know it. */
export interface NamedStatement extends Statement {
  readonly name: string | null
}

/** As much of the driver's connection as a flight writes to. */
interface Wire {
  readonly stream: { readonly writable: boolean; write(bytes: Buffer): void }
  parse(this: unknown, statement: { readonly name: string; readonly text: string }): void
  bind(this: unknown, of: { readonly statement: string; readonly values: readonly (string | Buffer | null)[] }): void
  describe(this: unknown, what: { readonly type: 'P'; readonly name: string }): void
  execute(this: unknown, of: null): void
  close(this: unknown, what: { readonly type: 'S'; readonly name: string }): void
  sync(this: unknown): void
  sendCopyFail(why: string): void
}

/** In the place of the driver's connection, which would write each message by itself. */
const into = {
  pieces: [] as Buffer[],
  _send(piece: Buffer): void {
    into.pieces.push(piece)
  },
}

/** What became of a flight: the answers up to the statement that failed, or of all. */
export interface Landed {
  readonly results: readonly StatementResult[]
  readonly error: unknown
}

/**
 * Statements that leave in one write and are answered in one: they end with one Sync, so PostgreSQL passes over all that
 * stands behind one that fails. To the driver it is a query of a make of its own.
 */
export class Flight {
  readonly #statements: readonly NamedStatement[]
  readonly #parsed: Parsed
  readonly #landed = Promise.withResolvers<Landed>()
  readonly #results: StatementResult[] = []
  /** Of each statement, once they are known. */
  readonly #fields: (readonly Field[] | null)[]
  #rows: Record<string, unknown>[] = []
  #isSent = false
  readonly #onOver: () => void

  /** @param onOver  called at once when nothing more of it is to come but what ends it */
  constructor(statements: readonly NamedStatement[], parsed: Parsed, onOver: () => void = () => {}) {
    this.#statements = statements
    this.#parsed = parsed
    this.#onOver = onOver
    this.#fields = statements.map(() => null)
  }

  get landed(): Promise<Landed> {
    return this.#landed.promise
  }

  /** Sends it before the driver asks for it. @returns what is wrong with it before anything was sent */
  sendBehind(connection: unknown): Error | null {
    const wrong = this.submit(connection)
    this.#isSent = wrong === null
    return wrong
  }

  /** @returns what is wrong with it before anything was sent */
  submit(connection: unknown): Error | null {
    if (this.#isSent) return null
    const wire = connection as Wire
    let bound: (string | Buffer | null)[][]
    try {
      bound = this.#statements.map(({ values }) => values.map(textOf))
    } catch (error) {
      return error as Error
    }
    const { parse, bind, describe, execute, close, sync } = wire
    into.pieces = []
    for (const [place, { name, text }] of this.#statements.entries()) {
      const known = name === null ? undefined : this.#parsed.get(name)
      const statement = name ?? ''
      if (known === undefined || known === 'doubtful') {
        if (known === 'doubtful') close.call(into, { type: 'S', name: statement })
        parse.call(into, { name: statement, text })
        if (name !== null) this.#parsed.set(name, 'doubtful')
      } else this.#fields[place] = known
      bind.call(into, { statement, values: bound[place] as (string | Buffer | null)[] })
      if (this.#fields[place] === null) describe.call(into, { type: 'P', name: '' })
      execute.call(into, null)
    }
    sync.call(into)
    if (wire.stream.writable) wire.stream.write(Buffer.concat(into.pieces))
    return null
  }

  handleRowDescription({ fields }: { readonly fields: readonly { readonly name: string; readonly dataTypeID: number }[] }): void {
    this.#fields[this.#results.length] = fields.map(({ name, dataTypeID }) => ({ name, read: pg.types.getTypeParser(dataTypeID, 'text') }))
  }
  handleDataRow({ fields: texts }: { readonly fields: readonly (string | null)[] }): void {
    const row: Record<string, unknown> = {}
    const fields = this.#fields[this.#results.length] ?? []
    for (let at = 0; at < fields.length; at++) {
      const { name, read } = fields[at] as Field
      const text = texts[at] ?? null
      row[name] = text === null ? null : read(text)
    }
    this.#rows.push(row)
  }
  handleCommandComplete({ text }: { readonly text: string }): void {
    const space = text.indexOf(' ')
    this.#end(space === -1 ? text : text.slice(0, space))
  }
  handleEmptyQuery(): void {
    this.#end('')
  }
  handlePortalSuspended(): void {}
  handleCopyData(): void {}
  handleCopyInResponse(connection: unknown): void {
    ;(connection as Wire).sendCopyFail('nothing is copied in')
  }

  #end(tag: string): void {
    const place = this.#results.length
    const { name } = this.#statements[place] as NamedStatement
    if (name !== null) this.#parsed.set(name, this.#fields[place] ?? [])
    this.#results.push({ tag, rows: this.#rows })
    this.#rows = []
  }

  handleReadyForQuery(): void {
    this.#landed.resolve({ results: this.#results, error: null })
    this.#onOver()
  }
  /** The driver does not ask it again: the answer to its Sync is nobody's. */
  handleError(error: unknown): void {
    this.#landed.resolve({ results: this.#results, error })
    this.#onOver()
  }
}

function textOf(value: unknown): string | Buffer | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'string' || Buffer.isBuffer(value)) return value
  if (Array.isArray(value)) return `{${value.map((each) => (each === null ? 'NULL' : `"${String(each).replace(/[\\"]/g, '\\$&')}"`)).join(',')}}`
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value)
  throw new TypeError('a statement takes texts, numbers, lists of texts and nulls')
}
