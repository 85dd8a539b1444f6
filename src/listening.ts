import type { Config } from './config.ts'
import { type DataDirectory, StartError } from './core/data-directory.ts'
import { type ConsoleListener, type Gateway, isLoopbackName } from './gateway/index.ts'

/** An address that others can reach demands TLS, or a proxy that is named. @throws StartError */
export function checkDoors(config: Config): void {
  const { host, tlsCert, tlsKey, behindProxy } = config.node
  if ((tlsCert === null) !== (tlsKey === null)) throw new StartError('--tls-cert and --tls-key go together.', 2)
  if (!isLoopbackName(host ?? '') && tlsCert === null && behindProxy.length === 0) {
    throw new StartError(
      `--host ${host} can be reached from other machines: that takes TLS (--tls-cert and --tls-key) or a proxy that does it (--behind-proxy CIDR).`,
      2,
    )
  }
}

/** Opens both doors where the settings want them; `--port 0` takes the ports of the last start when they are free. @throws StartError */
export async function listen(
  gateway: Gateway,
  consoleListener: ConsoleListener,
  config: Config,
  directory: DataDirectory,
): Promise<{ port: number; consolePort: number }> {
  const { host, port: wanted, consolePort: wantedConsole } = config.node
  const at = host ?? '127.0.0.1'
  const attempt = async (listener: { listen(host: string, port: number): Promise<number> }, port: number, free: boolean, flag: string): Promise<number> => {
    try {
      return await listener.listen(at, port)
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

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', 'localhost', '[::1]'])

/**
 * The host name that the console is called by where nobody named one. Cookies know no ports, so that any server of this
 * machine that is visited by its address would be sent the console's; browsers lead every name below `localhost` to this machine.
 * @param shown  the API's; over TLS also the console's, whose certificate was made for that
 */
export const consoleHost = (scheme: string, shown: string): string => (scheme === 'http' && LOOPBACK.has(shown) ? 'console.localhost' : shown)
