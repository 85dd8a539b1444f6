import type { Duplex } from 'node:stream'
import pg from 'pg'
import { openDatabaseStream } from '../../client/database.ts'
import { UnreachableError } from '../../client/client.ts'
import type { Cell, Column } from './rows.ts'

/** Where the session goes. */
export interface SessionAt {
  readonly url: string
  readonly key: string
  readonly project: string
}

/** What a statement gives, as it comes. */
export interface Taker {
  readonly columns: (columns: readonly Column[]) => void
  readonly row: (row: readonly Cell[]) => void
  /** What COPY gives to the client. */
  readonly copied: (chunk: Buffer) => void
  /** Fires when whoever reads takes more again; null where it takes more already. */
  readonly full: () => Promise<void> | null
}

/** The command tag, with how many rows it speaks of. */
export interface Done {
  readonly tag: string
  readonly rows: number | null
  readonly hasColumns: boolean
}

interface Wire {
  readonly stream: Duplex
  once(event: 'readyForQuery', then: () => void): void
  sendCopyFromChunk(chunk: Buffer): void
  endCopyFrom(): void
  sendCopyFail(why: string): void
}
interface Inner {
  readonly connection: Wire
  readonly processID: number
  readonly secretKey: number
  readonly readyForQuery: boolean
  getTransactionStatus(): 'I' | 'T' | 'E' | null
}
type Message = { readonly fields: { readonly name: string; readonly dataTypeID: number }[] }

/** Text as PostgreSQL wrote it. */
const AS_IT_IS = { getTypeParser: () => (value: unknown) => value }

/** A statement whose rows are handed on as they come, and are kept nowhere. */
class Streamed extends pg.Query {
  readonly #taker: Taker
  readonly #data: AsyncIterable<string> | null
  #isOver = false
  /** Whole, where the driver keeps its first word alone: `CREATE TABLE`. */
  tag: string | null = null

  constructor(text: string, data: AsyncIterable<string> | null, taker: Taker) {
    super({ text, rowMode: 'array', types: AS_IT_IS } as never)
    this.#taker = taker
    this.#data = data
  }
  handleRowDescription(message: Message): void {
    this.#taker.columns(message.fields.map(({ name, dataTypeID }) => ({ name, type: dataTypeID })))
    ;(Object.getPrototypeOf(Streamed.prototype) as { handleRowDescription(of: Message): void }).handleRowDescription.call(this, message)
  }
  handleCommandComplete(message: { readonly text: string }, connection: unknown): void {
    this.tag = message.text.replace(/( \d+)+$/, '')
    ;(Object.getPrototypeOf(Streamed.prototype) as { handleCommandComplete(of: unknown, by: unknown): void }).handleCommandComplete.call(
      this,
      message,
      connection,
    )
  }
  handleCopyInResponse(connection: Wire): void {
    if (this.#data === null) connection.sendCopyFail('no data follows; use -f with the rows behind the statement, and \\. on a line of its own')
    else void this.#copy(this.#data, connection)
  }
  async #copy(data: AsyncIterable<string>, connection: Wire): Promise<void> {
    const { stream } = connection
    try {
      for await (const rows of data) {
        if (this.#isOver || stream.destroyed) return
        connection.sendCopyFromChunk(Buffer.from(rows))
        // What the server does not take yet stays in the file.
        if (stream.writableNeedDrain) await new Promise((resolve) => stream.once('drain', resolve).once('close', resolve))
      }
      if (!this.#isOver) connection.endCopyFrom()
    } catch (error) {
      if (!this.#isOver) connection.sendCopyFail(error instanceof Error ? error.message : String(error))
    }
  }
  handleError(error: Error, connection: unknown): void {
    this.#isOver = true
    ;(Object.getPrototypeOf(Streamed.prototype) as { handleError(of: Error, by: unknown): void }).handleError.call(this, error, connection)
  }
  handleCopyData(message: { readonly chunk: Buffer }): void {
    this.#taker.copied(message.chunk)
  }
}

/** One session in a project's database, as its owner. */
export class DatabaseSession implements AsyncDisposable {
  readonly #client: pg.Client
  readonly #at: SessionAt
  readonly #lost = Promise.withResolvers<never>()

  private constructor(client: pg.Client, at: SessionAt) {
    this.#client = client
    this.#at = at
    this.#lost.promise.catch(() => {})
    client.on('error', (error) => this.#lost.reject(new UnreachableError(at.url, error)))
    client.once('end', () => this.#lost.reject(new UnreachableError(at.url, new Error('the session ended'))))
  }

  /** @throws ApiError, UnreachableError, pg.DatabaseError */
  static async open(at: SessionAt, onNotice: (notice: { readonly severity?: string; readonly message?: string }) => void): Promise<DatabaseSession> {
    const stream = asSocket(await openDatabaseStream(at.url, at.key, at.project))
    const client = new pg.Client({ stream: () => stream, user: 'postgres', database: 'postgres', application_name: 'mayfly psql' } as pg.ClientConfig)
    client.on('notice', (notice) => onNotice(notice as { severity?: string; message?: string }))
    await client.connect()
    return new DatabaseSession(client, at)
  }

  /** `I` idle, `T` in a transaction, `E` in one that has failed. */
  get state(): 'I' | 'T' | 'E' | null {
    return (this.#client as unknown as Inner).getTransactionStatus()
  }

  onNotification(take: (channel: string, payload: string) => void): void {
    this.#client.on('notification', ({ channel, payload }) => take(channel, payload ?? ''))
  }

  /** @throws pg.DatabaseError, UnreachableError */
  async run(text: string, data: AsyncIterable<string> | null, taker: Taker): Promise<Done> {
    const { stream } = (this.#client as unknown as Inner).connection
    let hasColumns = false
    let isPaused = false
    // What the terminal or the file does not take waits in PostgreSQL.
    const pause = () => {
      const full = isPaused ? null : taker.full()
      if (full === null) return
      isPaused = true
      stream.pause()
      void full.then(() => {
        isPaused = false
        stream.resume()
      })
    }
    const query = new Streamed(text, data, {
      ...taker,
      columns: (columns) => {
        hasColumns = true
        taker.columns(columns)
      },
      copied: (chunk) => {
        taker.copied(chunk)
        pause()
      },
    })
    const ended = new Promise<Done>((resolve, reject) => {
      query.on('row', (row) => {
        taker.row(row as unknown as Cell[])
        pause()
      })
      query.on('error', reject)
      query.on('end', (result) => {
        const last = (Array.isArray(result) ? result.at(-1) : result) as pg.QueryResult | undefined
        resolve({ tag: query.tag ?? last?.command ?? '', rows: last?.rowCount ?? null, hasColumns })
      })
    })
    this.#client.query(query)
    return await this.#settled(ended)
  }

  /** As the driver answers, but an error once the server has said how the transaction stands after it: that may come in a packet of its own. */
  async #settled<T>(answer: Promise<T>): Promise<T> {
    try {
      return await Promise.race([answer, this.#lost.promise])
    } catch (error) {
      const { connection, readyForQuery } = this.#client as unknown as Inner
      if (error instanceof pg.DatabaseError && !readyForQuery)
        await Promise.race([new Promise<void>((resolve) => connection.once('readyForQuery', resolve)), this.#lost.promise]).catch(() => {})
      throw error
    }
  }

  /** All rows of a question of our own. */
  async ask(text: string, values: readonly string[] = []): Promise<(string | null)[][]> {
    const query = { text, values: [...values], rowMode: 'array' as const, types: AS_IT_IS }
    return ((await this.#settled(this.#client.query(query as never))) as unknown as { rows: (string | null)[][] }).rows
  }

  /** Ends what runs, by a connection beside it. */
  async cancel(): Promise<void> {
    const { processID, secretKey } = this.#client as unknown as Inner
    const packet = Buffer.alloc(16)
    for (const [at, value] of [16, 80_877_102, processID, secretKey].entries()) packet.writeInt32BE(value, at * 4)
    const { url, key, project } = this.#at
    const stream = await openDatabaseStream(url, key, project)
    stream.on('error', () => {})
    stream.end(packet)
    stream.resume()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.race([this.#client.end(), this.#lost.promise]).catch(() => {})
  }
}

/** What the driver does with a socket beside reading and writing. */
function asSocket(stream: Duplex): Duplex {
  const connect = () => {
    process.nextTick(() => stream.emit('connect'))
    return stream
  }
  return Object.assign(stream, { connect, setNoDelay: () => stream, setKeepAlive: () => stream, ref: () => stream, unref: () => stream })
}
