import pg from 'pg'
import type { Clock } from '../../lib/clock.ts'
import { type Connection, DatabaseError } from './database.ts'
import { asDatabaseError, OWN_PATH, quoteIdentifier, quoteLiteral } from './postgres.ts'

export interface ReplicationOptions {
  readonly slot: string
  readonly publication: string
  readonly clock: Clock
  /**
   * One message of pgoutput. It has to be read at once: the bytes are the driver's and are used again.
   * @param sentAt  by the server's clock, milliseconds since 1970
   */
  readonly onMessage: (message: Buffer, sentAt: number) => void
  /** Called once, when nothing comes any more. */
  readonly onEnd: (error: Error) => void
}

const STATUS_MS = 1_000
// PostgreSQL counts microseconds from 2000.
const EPOCH_MS = 946_684_800_000

/** The inner face of the driver's client that its types leave out. */
interface Wire {
  readonly stream: { pause(): void; resume(): void }
  on(event: 'copyData', take: (message: { chunk: Buffer }) => void): void
  once(event: 'replicationStart', take: () => void): void
  sendCopyFromChunk(chunk: Buffer): void
}

/**
 * The stream of changes of one publication by a temporary slot, which ends with the connection. What was received is
 * acknowledged at once and at least every second, so that the server keeps no log for it: who reads on from a lost
 * connection has a gap.
 */
export class Replication implements AsyncDisposable {
  readonly #client: pg.Client
  readonly #wire: Wire
  readonly #options: ReplicationOptions
  readonly #ended = new AbortController()
  #received = 0n

  private constructor(client: pg.Client, options: ReplicationOptions) {
    this.#client = client
    this.#wire = (client as unknown as { connection: Wire }).connection
    this.#options = options
  }

  /** Resolves when every change that is committed from now on comes. @throws DatabaseError */
  static async open(connection: Connection, options: ReplicationOptions, signal: AbortSignal): Promise<Replication> {
    const client = new pg.Client({
      ...connection,
      application_name: 'mayfly realtime',
      connectionTimeoutMillis: 10_000,
      keepAlive: true,
      // Text forms that do not depend on how the server is set.
      options: `-c search_path=${OWN_PATH} -c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c bytea_output=hex -c extra_float_digits=1 -c statement_timeout=0`,
      replication: 'database',
    } as pg.ClientConfig)
    const replication = new Replication(client, options)
    client.on('error', (error) => replication.#end(error))
    client.on('end', () => replication.#end(new DatabaseError('08006', 'the connection to PostgreSQL was lost')))
    const onAbort = () => replication.#end(new DatabaseError('08006', 'the stream is not wanted any more'))
    signal.addEventListener('abort', onAbort)
    try {
      await client.connect()
      await client.query(`CREATE_REPLICATION_SLOT ${quoteIdentifier(options.slot)} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT`)
      await replication.#start()
      signal.throwIfAborted()
      return replication
    } catch (error) {
      replication.#end(error as Error)
      throw asDatabaseError(error)
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** The server waits, with what it has to say, until `resume`. */
  pause(): void {
    this.#wire.stream.pause()
  }
  resume(): void {
    this.#wire.stream.resume()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end(new DatabaseError('08006', 'the stream was closed'))
  }

  #start(): Promise<void> {
    const { slot, publication, clock } = this.#options
    this.#wire.on('copyData', ({ chunk }) => this.#take(chunk))
    return new Promise((resolve, reject) => {
      this.#wire.once('replicationStart', () => {
        resolve()
        void this.#report(clock)
      })
      this.#client
        .query(
          `START_REPLICATION SLOT ${quoteIdentifier(slot)} LOGICAL 0/0 (proto_version '1', publication_names ${quoteLiteral(quoteIdentifier(publication))})`,
        )
        .then(
          () => this.#end(new DatabaseError('08006', 'the server ended the stream')),
          (error: Error) => {
            this.#end(error)
            reject(error)
          },
        )
    })
  }

  #take(chunk: Buffer): void {
    if (this.#ended.signal.aborted) return
    const kind = String.fromCharCode(chunk[0] ?? 0)
    if (kind === 'w') {
      const lsn = chunk.readBigUInt64BE(1)
      if (lsn > this.#received) this.#received = lsn
      try {
        this.#options.onMessage(chunk.subarray(25), EPOCH_MS + Number(chunk.readBigInt64BE(17)) / 1_000)
      } catch (error) {
        this.#end(error as Error)
      }
    } else if (kind === 'k') {
      const lsn = chunk.readBigUInt64BE(1)
      if (lsn > this.#received) this.#received = lsn
      if (chunk[17] === 1) this.#acknowledge()
    }
  }

  async #report(clock: Clock): Promise<void> {
    while (!this.#ended.signal.aborted) {
      this.#acknowledge()
      await clock.sleep(STATUS_MS, this.#ended.signal).catch(() => {})
    }
  }

  #acknowledge(): void {
    const status = Buffer.alloc(34)
    status[0] = 'r'.charCodeAt(0)
    // Written, flushed and applied are one here: nothing is kept.
    for (const at of [1, 9, 17]) status.writeBigUInt64BE(this.#received, at)
    status.writeBigInt64BE(BigInt(Math.round((this.#options.clock.now() - EPOCH_MS) * 1_000)), 25)
    this.#wire.sendCopyFromChunk(status)
  }

  #end(error: Error): void {
    if (this.#ended.signal.aborted) return
    this.#ended.abort()
    this.#client.end().catch(() => {})
    this.#options.onEnd(error)
  }
}
