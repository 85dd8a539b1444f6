import type { Duplex } from 'node:stream'
import { LIMITS } from '../core/limits.ts'
import { MECHANISM, ScramError, ScramServer, type Verifier } from './scram.ts'
import { CANCEL_REQUEST, GSS_REQUEST, int32, type Message, Packets, packet, PROTOCOL_3, readParameters, SSL_REQUEST, WireError } from './wire.ts'

/** A refusal that its client is told, by PostgreSQL's own code. */
export class Refused extends Error {
  readonly sqlState: string
  readonly hint: string | undefined
  constructor(sqlState: string, message: string, hint?: string) {
    super(message)
    this.name = 'Refused'
    this.sqlState = sqlState
    this.hint = hint
  }
}

export type Opening =
  | { readonly kind: 'cancel'; readonly pid: number; readonly key: number }
  | { readonly kind: 'session'; readonly stream: Duplex; readonly parameters: ReadonlyMap<string, string> }

export interface FrontOptions {
  /** Wraps what follows in TLS; null where there is no certificate, and the client is told so. */
  readonly secure: ((stream: Duplex) => Promise<Duplex>) | null
  /** No session begins in the clear. */
  readonly demandsTls: boolean
}

/**
 * Reads what a client wants, until it has said it in a form that is taken.
 * @throws WireError, Refused
 */
export async function readOpening(first: Duplex, options: FrontOptions): Promise<Opening> {
  let stream = first
  let isSecure = false
  let hasAskedForGss = false
  for (;;) {
    const { body } = await firstOf(stream)
    if (body.length < 4) throw new WireError('the first packet is too short')
    const version = body.readInt32BE()
    if (version === CANCEL_REQUEST && body.length === 12) return { kind: 'cancel', pid: body.readInt32BE(4), key: body.readInt32BE(8) }
    if (version === GSS_REQUEST && !hasAskedForGss && !isSecure) {
      hasAskedForGss = true
      stream.write('N')
      continue
    }
    if (version === SSL_REQUEST && !isSecure) {
      // What came before the answer would be taken for what comes through TLS.
      if (stream.readableLength > 0) throw new WireError('more came before TLS began')
      stream.write(options.secure === null ? 'N' : 'S')
      // Once: who was told that there is none goes on without, or leaves.
      isSecure = true
      if (options.secure !== null) {
        stream = await options.secure(stream)
        options = { ...options, demandsTls: false }
      }
      continue
    }
    if (version >> 16 !== PROTOCOL_3 >> 16) throw new Refused('0A000', 'this speaks version 3 of the protocol')
    if (options.demandsTls) throw new Refused('28000', 'this door takes TLS alone', 'Connect with sslmode=require.')
    const parameters = readParameters(body)
    const unknown = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'))
    // Newer clients are told which they have before them, and say less.
    if ((version & 0xffff) > 0 || unknown.length > 0) stream.write(packet('v', int32(PROTOCOL_3, unknown.length), ...unknown.map((name) => `${name}\0`)))
    for (const name of unknown) parameters.delete(name)
    return { kind: 'session', stream, parameters }
  }
}

async function firstOf(stream: Duplex): Promise<Message> {
  using packets = new Packets(stream)
  return await packets.first(LIMITS.doorOpening.value)
}

/** The whole of SCRAM-SHA-256; no other method is spoken. @throws Refused, WireError */
export async function askPassword(stream: Duplex, user: string, verifierOf: () => Promise<Verifier>): Promise<void> {
  const wrong = () => new Refused('28P01', `password authentication failed for user "${user}"`)
  using packets = new Packets(stream)
  const answer = async () => {
    const { type, body } = await packets.next(LIMITS.doorOpening.value)
    if (type !== 'p') throw new WireError('a password is waited for')
    return body
  }
  stream.write(packet('R', int32(10), `${MECHANISM}\0\0`))
  const body = await answer()
  const end = body.indexOf(0)
  if (end === -1 || body.subarray(0, end).toString('latin1') !== MECHANISM || body.length < end + 5 || body.readInt32BE(end + 1) !== body.length - end - 5)
    throw new Refused('28000', `this door takes ${MECHANISM} alone`, 'Use a client that speaks it, such as any of PostgreSQL 10 or newer.')
  try {
    const scram = new ScramServer(await verifierOf())
    stream.write(packet('R', int32(11), scram.first(body.subarray(end + 5).toString('utf8'))))
    const proof = scram.final((await answer()).toString('utf8'))
    if (proof === null) throw wrong()
    stream.write(packet('R', int32(12), proof))
  } catch (error) {
    throw error instanceof ScramError ? new Refused('08P01', error.message) : error
  }
}
