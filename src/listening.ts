import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Config } from './config.ts'
import { type DataDirectory, StartError } from './core/data-directory.ts'
import { type Door, DoorListener, type DoorPlace } from './door/index.ts'
import { type ConsoleListener, type Gateway, isLoopbackName } from './gateway/index.ts'

/** An address that others can reach demands TLS, or a proxy that is named. @throws StartError */
export function checkDoors(config: Config): void {
  const { host, tlsCert, tlsKey, behindProxy } = config.node
  if ((tlsCert === null) !== (tlsKey === null)) throw new StartError('--tls-cert and --tls-key go together.', 2)
  if (!isLoopbackName(config.door.host) && tlsCert === null)
    throw new StartError(`--door-host ${config.door.host} can be reached from other machines: that takes TLS (--tls-cert and --tls-key).`, 2)
  if (!isLoopbackName(host) && tlsCert === null && behindProxy.length === 0) {
    throw new StartError(
      `--host ${host} can be reached from other machines: that takes TLS (--tls-cert and --tls-key) or a proxy that does it (--behind-proxy CIDR).`,
      2,
    )
  }
}

/** Null where the settings name no certificate. @throws StartError */
export const tlsOf = ({ node: { tlsCert, tlsKey } }: Config): { readonly cert: string; readonly key: string } | null =>
  tlsCert === null || tlsKey === null ? null : { cert: readText(tlsCert, 'certificate'), key: readText(tlsKey, 'private key') }

export function readText(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new StartError(`The ${what} ${file} cannot be read: ${(error as Error).message}`, 2)
  }
}

/**
 * Opens both doors where the settings want them; `--port 0` takes the ports of the last start when they are free.
 * @param shared  workers will listen on the API's port too
 * @throws StartError
 */
export async function listen(
  gateway: Gateway,
  consoleListener: ConsoleListener,
  config: Config,
  directory: DataDirectory,
  shared: boolean,
): Promise<{ port: number; consolePort: number }> {
  const { host: at, port: wanted, consolePort: wantedConsole } = config.node
  const attempt = async (
    listener: { listen(host: string, port: number, shared?: boolean): Promise<number> },
    port: number,
    free: boolean,
    flag: string,
  ): Promise<number> => {
    const isShared = shared && listener === gateway
    try {
      // A port that processes share would be shared with any other node of this user's, too.
      if (isShared && port !== 0) await probe(at, port)
      return await listener.listen(at, port, isShared)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'EADDRINUSE' && free) return await listener.listen(at, 0)
      if (code === 'EADDRINUSE')
        throw new StartError(`Port ${port} on ${at} is in use by another program. Choose another with ${flag}, or ${flag} 0 for a free one.`)
      if (code === 'EACCES') throw new StartError(`Port ${port} may not be opened by this user. Choose one above 1023 with ${flag}.`)
      throw new StartError(`The node cannot listen on ${at}: ${message}`)
    }
  }
  const remembered = directory.instance
  const port = await attempt(gateway, wanted === 0 ? (remembered.port ?? 0) : wanted, wanted === 0, '--port')
  const consoleWish = wantedConsole !== 0 ? wantedConsole : wanted === 0 ? (remembered.consolePort ?? 0) : port + 1
  const consolePort = await attempt(consoleListener, consoleWish, wanted === 0 && wantedConsole === 0, '--console-port')
  if (wanted === 0 && (remembered.port !== port || remembered.consolePort !== consolePort)) await directory.update({ port, consolePort })
  return { port, consolePort }
}

/**
 * Where PostgreSQL clients come in. Nobody has asked for the port that it takes by itself: when another program has it, a
 * free one will do.
 * @throws StartError
 */
export async function listenForPostgres(
  stack: AsyncDisposableStack,
  door: Door,
  config: Config,
  directory: DataDirectory,
  apiPort: number,
): Promise<DoorPlace | null> {
  const { port: wanted, host } = config.door
  if (wanted === 'off') return null
  const tls = tlsOf(config)
  const isLocal = isLoopbackName(host)
  const listener = stack.use(new DoorListener(door, tls, !isLocal))
  const remembered = directory.instance.doorPort
  const wish = wanted !== 0 ? wanted : config.node.port === 0 ? (remembered ?? 0) : apiPort + 2
  const attempt = async (port: number): Promise<number> => {
    try {
      return await listener.listen(host, port)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (wanted === 0 && port !== 0 && (code === 'EADDRINUSE' || code === 'EACCES' || code === 'ERR_SOCKET_BAD_PORT')) return await attempt(0)
      throw new StartError(`PostgreSQL clients cannot be heard on port ${port} of ${host}: ${message}. Choose another with --door-port, or --door-port off.`)
    }
  }
  const port = await attempt(wish)
  if (wanted === 0 && port !== remembered) await directory.update({ doorPort: port })
  return { host: host === '0.0.0.0' || host === '::' ? shownHost(config) : host, port, tls: tls !== null }
}

const shownHost = ({ node: { publicUrl } }: Config): string => (publicUrl === null ? '127.0.0.1' : new URL(publicUrl).hostname)

/** @throws Error as a listener does that wants the port for itself */
async function probe(host: string, port: number): Promise<void> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, resolve)
  })
  await new Promise((resolve) => server.close(resolve))
}

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', 'localhost', '[::1]'])

/**
 * The host name that the console is called by where nobody named one. Cookies know no ports, so that any server of this
 * machine that is visited by its address would be sent the console's; browsers lead every name below `localhost` to this machine.
 * @param shown  the API's; over TLS also the console's, whose certificate was made for that
 */
export const consoleHost = (scheme: string, shown: string): string => (scheme === 'http' && LOOPBACK.has(shown) ? 'console.localhost' : shown)
