import { type SendHandle, spawn } from 'node:child_process'
import type { Socket } from 'node:dgram'
import type { Server } from 'node:net'
import type { NameSockets } from './name-server.ts'
import { PATH } from './programs.ts'

const LIMIT_MS = 20_000
const MAX_COMPLAINT = 500
/** Makes both sockets, gives them away, and waits to be let go. */
const GIVE = `
const [address, port] = process.argv.slice(1)
const udp = require('node:dgram').createSocket('udp4')
const tcp = require('node:net').createServer()
udp.bind(Number(port), address, () => tcp.listen(Number(port), address, () => process.send('udp', udp, () => process.send('tcp', tcp))))
process.on('disconnect', () => process.exit())`

/**
 * Sockets that belong to another network namespace, and are heard and spoken by in this process: a program that is started there
 * opens them and hands them over. @param entrance  the arguments of `nsenter`. @throws Error
 */
export async function socketsInside(entrance: readonly string[], { address, port }: { readonly address: string; readonly port: number }): Promise<NameSockets> {
  const child = spawn('nsenter', [...entrance, process.execPath, '-e', GIVE, address, String(port)], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    cwd: '/',
    detached: true,
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
    env: { PATH },
  })
  let complaint = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(0, MAX_COMPLAINT)
  })
  const got: { udp?: Socket; tcp?: Server } = {}
  try {
    return await new Promise<NameSockets>((resolve, reject) => {
      child.on('message', (what, handle?: SendHandle) => {
        if (what === 'udp') got.udp = handle as Socket
        if (what === 'tcp') got.tcp = handle as Server
        const { udp, tcp } = got
        if (udp && tcp) resolve({ udp, tcp })
      })
      child.on('error', reject)
      child.on('exit', (code, signal) =>
        reject(new Error(`where names are asked for nobody could listen: ${complaint.trim() || (signal ?? `exit code ${code}`)}`)),
      )
    })
  } catch (error) {
    got.udp?.close()
    got.tcp?.close()
    throw error
  } finally {
    if (child.connected) child.disconnect()
  }
}
