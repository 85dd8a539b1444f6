import pg from 'pg'
import type { Connection } from './database.ts'
import { asDatabaseError, quoteIdentifier } from './postgres.ts'

/** Hears what is told on a channel, until it is disposed of or the connection is lost. */
export class Listener implements AsyncDisposable {
  readonly #client: pg.Client

  private constructor(client: pg.Client) {
    this.#client = client
  }

  /**
   * @param onLost  called once when the connection is lost; not when it is disposed of
   * @throws DatabaseError
   */
  static async open(connection: Connection, channel: string, hear: (payload: string) => void, onLost: () => void): Promise<Listener> {
    const client = new pg.Client({ ...connection, application_name: 'mayfly listener', keepAlive: true, connectionTimeoutMillis: 10_000 })
    const listener = new Listener(client)
    client.on('error', () => {}) // `end` follows
    client.on('notification', (message) => hear(message.payload ?? ''))
    try {
      await client.connect()
      await client.query(`listen ${quoteIdentifier(channel)}`)
    } catch (error) {
      await client.end().catch(() => {})
      throw asDatabaseError(error)
    }
    client.once('end', () => {
      if (!listener.#isClosing) onLost()
    })
    return listener
  }
  #isClosing = false

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true
    await this.#client.end().catch(() => {})
  }
}
