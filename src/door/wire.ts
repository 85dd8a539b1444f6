import type { Duplex } from 'node:stream'

/** PostgreSQL's wire protocol 3.0, as far as a session is opened by it; what follows is carried and never read. */
export const PROTOCOL_3 = 196_608
export const SSL_REQUEST = 80_877_103
export const GSS_REQUEST = 80_877_104
export const CANCEL_REQUEST = 80_877_102

/** What came does not follow the protocol, or is too large; nothing more is said to its sender. */
export class WireError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'WireError'
  }
}

export interface Message {
  /** One character; empty for the first packet, which has none. */
  readonly type: string
  readonly body: Buffer
}

const EVENTS = ['readable', 'end', 'close', 'error'] as const

/** Reads packets off a stream that is not flowing, no byte more than was asked for; when it is disposed of the stream is as before. */
export class Packets implements Disposable {
  readonly stream: Duplex
  #heard = Promise.withResolvers<void>()
  // One listener for all of it: each that is added is told at once of what waits already, however little that is.
  readonly #wake = () => {
    this.#heard.resolve()
    this.#heard = Promise.withResolvers()
  }

  constructor(stream: Duplex) {
    this.stream = stream
    for (const event of EVENTS) stream.on(event, this.#wake)
  }

  [Symbol.dispose](): void {
    for (const event of EVENTS) this.stream.removeListener(event, this.#wake)
  }

  /** @throws WireError when it ends before, or is too large */
  async first(mostBytes: number): Promise<Message> {
    return { type: '', body: await this.#body(mostBytes) }
  }

  /** @throws WireError */
  async next(mostBytes: number): Promise<Message> {
    const type = (await this.#bytes(1)).toString('latin1')
    return { type, body: await this.#body(mostBytes) }
  }

  async #body(mostBytes: number): Promise<Buffer> {
    const size = (await this.#bytes(4)).readInt32BE() - 4
    if (size < 0 || size > mostBytes) throw new WireError('a packet of this size is not expected')
    return size === 0 ? Buffer.alloc(0) : await this.#bytes(size)
  }

  async #bytes(count: number): Promise<Buffer> {
    const { stream } = this
    for (;;) {
      const bytes = stream.read(count) as Buffer | null
      if (bytes !== null && bytes.length === count) return bytes
      if (bytes !== null || stream.destroyed || stream.readableEnded) throw new WireError('the connection ended')
      await this.#heard.promise
    }
  }
}

/** Length included, as the protocol counts it. */
export function packet(type: string, ...parts: readonly (string | Buffer)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)))
  const head = Buffer.alloc(type.length + 4)
  head.write(type, 'latin1')
  head.writeInt32BE(body.length + 4, type.length)
  return Buffer.concat([head, body])
}

export const int32 = (...values: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(values.length * 4)
  for (const [at, value] of values.entries()) bytes.writeInt32BE(value | 0, at * 4)
  return bytes
}

export const startup = (parameters: ReadonlyMap<string, string>): Buffer =>
  packet('', int32(PROTOCOL_3), ...[...parameters].map(([name, value]) => `${name}\0${value}\0`), '\0')

/** Names and values of a startup packet behind its version. @throws WireError */
export function readParameters(body: Buffer): Map<string, string> {
  const parts = body.subarray(4).toString('utf8').split('\0')
  // Each ends with a zero byte, and so does the whole.
  if (parts.length < 2 || parts.length % 2 !== 0 || parts.at(-1) !== '' || parts.at(-2) !== '') throw new WireError('the first packet is malformed')
  const parameters = new Map<string, string>()
  for (let at = 0; at < parts.length - 2; at += 2) {
    const name = parts[at] as string
    if (name === '' || parameters.has(name)) throw new WireError('the first packet is malformed')
    parameters.set(name, parts[at + 1] as string)
  }
  return parameters
}

/** An end of the session that its client shows to a person. */
export const fatal = (sqlState: string, message: string, hint?: string): Buffer =>
  packet('E', `SFATAL\0VFATAL\0C${sqlState}\0M${message}\0${hint === undefined ? '' : `H${hint}\0`}\0`)

/** The fields of an error by their letters. */
export function readError(body: Buffer): ReadonlyMap<string, string> {
  return new Map(
    body
      .toString('utf8')
      .split('\0')
      .filter((field) => field !== '')
      .map((field) => [field.slice(0, 1), field.slice(1)]),
  )
}
