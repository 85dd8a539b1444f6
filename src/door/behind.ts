import { createHash, randomInt } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import path from 'node:path'
import { connect as connectTls } from 'node:tls'
import { type Connection, DatabaseError } from '../backends/database/database.ts'
import { MECHANISM, ScramClient } from './scram.ts'
import { CANCEL_REQUEST, int32, Packets, packet, readError, SSL_REQUEST, startup, WireError } from './wire.ts'

const MOST_BYTES = 64 * 1024

/** A session at the server of a project, opened and idle; what has come of it is for whoever it is opened for. */
export interface Behind {
  readonly socket: Socket
  /** What the server said of itself: its parameters. */
  readonly greeting: Buffer
  readonly pid: number
  /** Ends what runs in it. */
  cancel(): void
}

/**
 * @param signal  aborts what is not open yet
 * @throws DatabaseError with what the server says; 08006 when it is not reached
 */
export async function openBehind(connection: Connection, given: ReadonlyMap<string, string>, signal: AbortSignal): Promise<Behind> {
  const plain = reach(connection)
  const abort = () => plain.destroy()
  signal.addEventListener('abort', abort)
  try {
    if (signal.aborted) throw new WireError('nobody waits any more')
    const socket = await secured(plain, connection)
    using packets = new Packets(socket)
    socket.write(startup(new Map([...given, ['user', connection.user], ['database', connection.database]])))
    await signIn(packets, connection)
    const greeting: Buffer[] = []
    let own: Buffer = Buffer.alloc(8)
    for (;;) {
      const { type, body } = await packets.next(MOST_BYTES)
      if (type === 'E') throw errorOf(body)
      if (type === 'Z') break
      if (type === 'K') own = body
      else greeting.push(packet(type, body))
    }
    const cancel = () => {
      const other = reach(connection)
      other.on('error', () => other.destroy())
      other.end(packet('', int32(CANCEL_REQUEST), own))
    }
    return { socket, greeting: Buffer.concat(greeting), pid: own.readInt32BE(), cancel }
  } catch (error) {
    plain.destroy()
    if (error instanceof DatabaseError) throw error
    throw new DatabaseError('08006', 'the database of the project is not reached', null, { cause: error })
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

function reach({ host, port }: Connection): Socket {
  const socket = host.startsWith('/') ? connect(path.join(host, `.s.PGSQL.${port}`)) : connect({ host, port, keepAlive: true, noDelay: true })
  // It ends who reads from it, who finds it destroyed.
  socket.on('error', () => socket.destroy())
  return socket
}

async function secured(plain: Socket, { host, ssl }: Connection): Promise<Socket> {
  if (ssl === undefined || ssl === false) return plain
  plain.write(packet('', int32(SSL_REQUEST)))
  const answer = await new Promise<string>((resolve, reject) => {
    plain.once('close', () => reject(new WireError('the connection ended')))
    plain.once('readable', () => resolve((plain.read(1) as Buffer | null)?.toString('latin1') ?? ''))
  })
  // What came beside the answer came from somebody before it was safe.
  if (answer !== 'S' || plain.readableLength > 0) throw new WireError('the server has no TLS')
  const socket = connectTls({ ...(ssl === true ? {} : ssl), socket: plain, ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }) })
  socket.on('error', () => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('close', () => reject(new WireError('no TLS came about')))
  })
  return socket
}

async function signIn(packets: Packets, { user, password }: Connection): Promise<void> {
  const send = (...parts: readonly (string | Buffer)[]) => packets.stream.write(packet('p', ...parts))
  let scram: ScramClient | null = null
  for (;;) {
    const { type, body } = await packets.next(MOST_BYTES)
    if (type === 'E') throw errorOf(body)
    if (type !== 'R') throw new WireError('the server asks for no password')
    const text = body.subarray(4).toString('utf8')
    switch (body.readInt32BE()) {
      case 0:
        return
      case 3:
        send(`${password}\0`)
        break
      case 5: {
        const md5 = (...what: readonly (string | Buffer)[]) => {
          const sum = createHash('md5')
          for (const part of what) sum.update(part)
          return sum.digest('hex')
        }
        send(`md5${md5(md5(password, user), body.subarray(4))}\0`)
        break
      }
      case 10:
        if (!text.split('\0').includes(MECHANISM)) throw new WireError('the server has no SCRAM-SHA-256')
        scram = new ScramClient(password)
        send(`${MECHANISM}\0`, int32(Buffer.byteLength(scram.first)), scram.first)
        break
      case 11:
        send((await scram?.final(text)) ?? '')
        break
      case 12:
        scram?.check(text)
        break
      default:
        throw new WireError('the server asks for what we have not')
    }
  }
}

function errorOf(body: Buffer): DatabaseError {
  const fields = readError(body)
  const hint = fields.get('H')
  return new DatabaseError(fields.get('C') ?? 'XX000', fields.get('M') ?? 'the server refused', null, hint === undefined ? {} : { hint })
}

/** The key by which a client of ours cancels; what opens at the server itself it never learns. */
export const cancelKey = (): number => randomInt(-(2 ** 31), 2 ** 31)
