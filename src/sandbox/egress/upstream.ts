import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { promises as fs } from 'node:fs'
import { connect, isIP, isIPv6 } from 'node:net'

const TRY_MS = 2_000
const MAX_ANSWER = 65_535
const RESOLV_CONF = '/etc/resolv.conf'
const RESOLV_CONF_AGE_MS = 5_000

/** Who resolves names for this machine. */
export class Upstream {
  readonly #given: readonly string[]
  #servers: readonly string[] = []
  #readAt = Number.NEGATIVE_INFINITY

  /** @param given  addresses, with a port behind a `#` if it is not 53; empty: those of the machine */
  constructor(given: readonly string[]) {
    this.#given = given
  }

  /**
   * Asks one server after the other. Each query has a port and a number of its own, so that nobody who cannot see it can answer it.
   * @returns the first answer, with the number of the question. @throws Error when none answers
   */
  async ask(query: Buffer, over: 'udp' | 'tcp'): Promise<Buffer> {
    const id = randomInt(65_536)
    const sent = Buffer.from(query)
    sent.writeUInt16BE(id, 0)
    let failure: Error = new Error('this machine names no server that resolves names')
    for (const server of await this.#all()) {
      try {
        const answer = await (over === 'udp' ? askByPacket(server, sent, id) : askByConnection(server, sent))
        query.copy(answer, 0, 0, 2)
        return answer
      } catch (error) {
        failure = error as Error
      }
    }
    throw failure
  }

  async #all(): Promise<readonly string[]> {
    if (this.#given.length > 0) return this.#given
    if (performance.now() - this.#readAt > RESOLV_CONF_AGE_MS) {
      const text = await fs.readFile(RESOLV_CONF, 'utf8').catch(() => '')
      this.#servers = [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)]
        .map(([, address]) => address as string)
        .filter((address) => isIP(address.split('%')[0] ?? ''))
      this.#readAt = performance.now()
    }
    return this.#servers
  }
}

const placeOf = (server: string) => {
  const [address = '', port] = server.split('#')
  return { address, port: port === undefined ? 53 : Number(port) }
}

function askByPacket(server: string, query: Buffer, id: number): Promise<Buffer> {
  const { address, port } = placeOf(server)
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(address.split('%')[0] ?? '') ? 'udp6' : 'udp4')
    const end = (how: () => void) => {
      clearTimeout(late)
      socket.close()
      how()
    }
    const late = setTimeout(() => end(() => reject(new Error(`${address} did not answer`))), TRY_MS)
    socket.on('error', (error) => end(() => reject(error)))
    socket.on('message', (answer) => {
      if (answer.length >= 12 && answer.readUInt16BE(0) === id) end(() => resolve(answer))
    })
    socket.connect(port, address, () => socket.send(query))
  })
}

function askByConnection(server: string, query: Buffer): Promise<Buffer> {
  const { address, port } = placeOf(server)
  return new Promise((resolve, reject) => {
    const socket = connect(port, address)
    let heard = Buffer.alloc(0)
    const fail = (error: Error) => {
      socket.destroy()
      reject(error)
    }
    socket.setTimeout(TRY_MS, () => fail(new Error(`${address} did not answer`)))
    socket.on('error', fail)
    socket.on('close', () => reject(new Error(`${address} closed the connection`)))
    socket.on('data', (chunk: Buffer) => {
      heard = Buffer.concat([heard, chunk])
      if (heard.length < 2 || heard.length < 2 + heard.readUInt16BE(0)) return
      if (heard.length > 2 + MAX_ANSWER) return fail(new Error(`${address} says too much`))
      resolve(Buffer.from(heard.subarray(2, 2 + heard.readUInt16BE(0))))
      socket.destroy()
    })
    socket.write(framed(query))
  })
}

export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(message.length)
  return Buffer.concat([length, message])
}
