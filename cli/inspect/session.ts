import { once } from 'node:events'
import { stripVTControlCharacters } from 'node:util'
import type { WebSocket } from 'ws'
import { ApiError, UnreachableError } from '../../client/client.ts'
import { type InspectedAt, openDebugger } from '../../client/inspect.ts'
import { bold, complain, dim, green, harmless, print, red, UsageError } from '../output.ts'
import { Door } from './door.ts'

const OVER = 1001

/** Resolves at Ctrl-C. @throws UsageError when the port is taken */
export async function inspect(at: InspectedAt, port: number, json: boolean): Promise<void> {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort())
  await using door = new Door({ name: `${at.name} (mayfly)`, joined: (debugging) => void join(at, debugging, json) })
  try {
    await door.listen(port)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EADDRINUSE' && code !== 'EACCES') throw error
    throw new UsageError(`inspect: 127.0.0.1:${port} is taken (${code}). Name another port with --port.`)
  }
  if (json) print(JSON.stringify({ event: 'listening', port: door.port, function: at.name, project: at.project }))
  else print(howTo(at.name, door.port))
  if (!stop.signal.aborted) await once(stop.signal, 'abort')
}

const howTo = (name: string, port: number) => `${green(`${name} waits for a debugger at 127.0.0.1:${port}.`)} Ctrl-C ends it.
  ${bold('VS Code')}  Run and Debug: "Attach to mayfly inspect" (mayfly init writes it)
  ${bold('Chrome')}   chrome://inspect${port === 9229 ? '' : `, Configure…: 127.0.0.1:${port}`}
  ${bold('Node')}     node inspect 127.0.0.1:${port}
${dim(`While one is attached, calls of ${name} come to the sandbox that it looks into and do not time out, for an hour at most.`)}`

/** One debugger, and the sandbox that it looks into. */
async function join(at: InspectedAt, debugging: WebSocket, json: boolean): Promise<void> {
  debugging.on('error', () => debugging.terminate())
  debugging.pause()
  const tell = (event: string, text: string) => (json ? print(JSON.stringify({ event, message: stripVTControlCharacters(text) })) : complain(text))
  try {
    const sandbox = await openDebugger(at)
    sandbox.on('error', () => sandbox.terminate())
    tell('attached', green('A debugger is attached.'))
    carry(debugging, sandbox)
    carry(sandbox, debugging)
    debugging.once('close', () => sandbox.close())
    sandbox.once('close', (_, reason) => {
      debugging.close(OVER)
      tell('detached', dim(`The debugger is detached${reason.length > 0 ? `: ${harmless(String(reason))}` : ''}.`))
    })
    // It may have left meanwhile.
    if (debugging.readyState >= debugging.CLOSING) sandbox.close()
    for (const one of [sandbox, debugging]) one.resume()
  } catch (error) {
    debugging.close(OVER)
    // Or its farewell is never read.
    debugging.resume()
    if (!(error instanceof ApiError || error instanceof UnreachableError)) throw error
    tell('refused', red(`${error.message}${error instanceof ApiError && error.hint !== '' ? `\n${error.hint}` : ''}`))
  }
}

/** Passes on what one sends, no faster than the other takes it. */
function carry(from: WebSocket, to: WebSocket): void {
  from.on('message', (data, isBinary) => {
    if (to.readyState !== to.OPEN) return
    from.pause()
    to.send(data as Buffer, { binary: isBinary }, () => from.resume())
  })
}
