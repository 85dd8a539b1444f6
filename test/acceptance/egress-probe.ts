import { buildSync } from 'esbuild'
import { ROOT } from './harness.ts'

// What runs inside. Each step says what came of it: an answer, or the code of the error.
const PROBE = `
import dgram from 'node:dgram'
import dns from 'node:dns/promises'
import https from 'node:https'
import net from 'node:net'
import os from 'node:os'
import pg from 'pg'
const codeOf = (error) => error.cause?.code ?? error.cause?.message ?? error.code ?? String(error)
const socketTo = (host, port) => new Promise((resolve, reject) => { const socket = net.connect({ host, port: Number(port), family: 0 }); socket.setTimeout(4000, () => { socket.destroy(); reject({ code: 'timeout' }) }); socket.on('connect', () => resolve(socket)); socket.on('error', reject) })
const STEPS = {
  connect: async (host, port) => { (await socketTo(host, port)).destroy(); return 'connected' },
  get: async (url) => { const reply = await fetch(url, { signal: AbortSignal.timeout(4000) }); return (await reply.text()).slice(0, 200) },
  size: async (url) => (await (await fetch(url)).arrayBuffer()).byteLength,
  post: async (url, bytes) => await (await fetch(url, { method: 'POST', body: Buffer.alloc(Number(bytes)) })).text(),
  resolve: async (name) => await dns.resolve4(name),
  lookup: async (name) => (await dns.lookup(name, { all: true })).map(({ address }) => address),
  text: async (name) => (await dns.resolveTxt(name)).flat().join('').length,
  six: async (name) => await dns.resolve6(name),
  tls: (name) => new Promise((resolve, reject) => https.get('https://' + name + '/', { rejectUnauthorized: false }, (reply) => { reply.setEncoding('utf8'); let text = ''; reply.on('data', (some) => { text += some }); reply.on('end', () => resolve(text)) }).on('error', reject)),
  redis: async (host, value) => { const socket = await socketTo(host, 6379); let heard = ''; socket.on('data', (some) => { heard += some }); socket.write('*3\\r\\n$3\\r\\nSET\\r\\n$1\\r\\nk\\r\\n$' + value.length + '\\r\\n' + value + '\\r\\n*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\nk\\r\\n'); while (!heard.endsWith(value + '\\r\\n')) await new Promise((done) => setTimeout(done, 5)); socket.destroy(); return heard },
  postgres: async (connectionString) => { const client = new pg.Client({ connectionString }); await client.connect(); const { rows } = await client.query("select 6 * 7 as answer, current_user as who"); await client.end(); return rows[0] },
  addresses: async () => Object.values(os.networkInterfaces()).flat().map(({ address }) => address),
  // A word to each port, of which nobody answers.
  flood: async (host) => { const socket = dgram.createSocket('udp4'); socket.on('error', () => {}); let sent = 0; for (let port = 1024; port < 65000; port++) await new Promise((done) => socket.send('x', port, host, (error) => { if (!error) sent++; done() })); socket.close(); return sent },
  // One socket, so that no connection is new: how many were answered, in how many seconds.
  names: async (server, count) => {
    const socket = dgram.createSocket('udp4')
    let answers = 0
    socket.on('error', () => {}).on('message', () => answers++)
    const began = performance.now()
    for (let id = 0; id < count; id++) {
      const packet = Buffer.concat([Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 7]), Buffer.from('no-such\\x03com\\0\\0\\x01\\0\\x01', 'latin1')])
      await new Promise((done) => socket.send(packet, 53, server, done))
    }
    await new Promise((done) => setTimeout(done, 200))
    socket.close()
    return [answers, (performance.now() - began) / 1000]
  },
  // Goes on listening: the kernel takes connections for it, frozen or not.
  listen: () => new Promise((resolve) => { const server = net.createServer(); server.listen(8080, '0.0.0.0', () => resolve('listening')) }),
}
export const handler = async (steps) => {
  const results = []
  for (const [step, ...args] of steps) results.push(await STEPS[step](...args).catch(codeOf))
  return results
}`
export type Step = readonly (string | number)[]
/** What a connection is told that the rules shut, or that has nowhere to go. */
export const SHUT = /^(EHOSTUNREACH|ENETUNREACH|ECONNREFUSED|EACCES|EADDRNOTAVAIL|EINVAL|ENOTFOUND)$/

/** The program of a function that tries what it is told. */
export function probeProgram(): string {
  const { outputFiles } = buildSync({
    stdin: { contents: PROBE, resolveDir: ROOT },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    external: ['pg-native'],
    write: false,
  })
  return outputFiles[0]?.text ?? ''
}
