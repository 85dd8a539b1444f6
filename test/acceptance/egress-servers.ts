// The internet of the egress tests: run in a network namespace of its own, with addresses that no sandbox's rules shut
// beside some that they do. Prints a line when all of it listens.
import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { createServer as createHttp, type RequestListener } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { connect, createServer, type Socket } from 'node:net'
import dns from 'dns-packet'

const { web, mail, store, databaseSocket, keyFile, certFile, shut, other } = JSON.parse(process.argv[2] ?? '{}') as {
  web: string
  mail: string
  store: string
  databaseSocket: string
  keyFile: string
  certFile: string
  shut: readonly string[]
  other: string
}
const listening: Promise<unknown>[] = []
const listen = (server: { listen(port: number, host: string, done: () => void): unknown }, port: number, host: string) =>
  void listening.push(new Promise<void>((resolve) => server.listen(port, host, resolve)))

const site =
  (of: string): RequestListener =>
  (request, response) => {
    const url = new URL(request.url ?? '/', 'http://any')
    if (url.pathname === '/redirect') return void response.writeHead(302, { location: url.searchParams.get('to') ?? '/' }).end()
    if (url.pathname === '/bytes') return void response.end(Buffer.alloc(Number(url.searchParams.get('count'))))
    let length = 0
    request.on('data', (chunk: Buffer) => {
      length += chunk.length
    })
    request.on('end', () => response.end(JSON.stringify({ of, from: request.socket.remoteAddress, length })))
  }
// One that answers everywhere: what a sandbox cannot reach is kept from it, not absent.
for (const port of [80, 8080]) listen(createHttp(site('web')), port, '0.0.0.0')
listen(createHttps({ key: readFileSync(keyFile), cert: readFileSync(certFile) }, site('secure')), 443, web)

/** Lines of text that are answered line by line. */
function lines(socket: Socket, answer: (line: string) => string | null): void {
  let heard = ''
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => {
    heard += chunk.toString()
    for (let end = heard.indexOf('\r\n'); end >= 0; end = heard.indexOf('\r\n')) {
      const said = answer(heard.slice(0, end))
      heard = heard.slice(end + 2)
      if (said !== null) socket.write(said)
    }
  })
}

// Submission of mail, and the port between servers beside it.
for (const port of [25, 587]) {
  const server = createServer((socket) => {
    let inBody = false
    socket.write('220 mail.example.com ESMTP\r\n')
    lines(socket, (line) => {
      if (inBody) {
        inBody = line !== '.'
        return inBody ? null : '250 taken\r\n'
      }
      const word = line.slice(0, 4).toUpperCase()
      if (word === 'DATA') {
        inBody = true
        return '354 go on\r\n'
      }
      if (word === 'QUIT') return '221 bye\r\n'
      return '250 fine\r\n'
    })
  })
  listen(server, port, mail)
}

// As Redis speaks: arrays of texts with their lengths.
const kept = new Map<string, string>()
listen(
  createServer((socket) => {
    const words: string[] = []
    lines(socket, (line) => {
      if (line.startsWith('*')) words.length = 0
      else if (!line.startsWith('$')) words.push(line)
      const [command, key = '', value] = words
      if (command === 'SET' && value !== undefined) {
        kept.set(key, value)
        words.length = 0
        return '+OK\r\n'
      }
      if (command !== 'GET' || key === '') return null
      words.length = 0
      const found = kept.get(key)
      return found === undefined ? '$-1\r\n' : `$${found.length}\r\n${found}\r\n`
    })
  }),
  6379,
  store,
)

// A PostgreSQL that listens elsewhere.
listen(
  createServer((socket) => {
    const server = connect(databaseSocket)
    for (const one of [socket, server]) one.on('error', () => {})
    socket.pipe(server).pipe(socket)
  }),
  5432,
  store,
)

// Names.
const NAMES: Readonly<Record<string, (asked: number) => dns.StringAnswer[]>> = {
  'web.example.com': () => [{ type: 'A', name: 'web.example.com', data: web, ttl: 1 }],
  'api.example.com': () => [
    { type: 'CNAME', name: 'api.example.com', data: 'cdn.example.net', ttl: 60 },
    { type: 'A', name: 'cdn.example.net', data: web, ttl: 60 },
  ],
  'a.b.example.org': () => [{ type: 'A', name: 'a.b.example.org', data: web, ttl: 60 }],
  'example.org': () => [{ type: 'A', name: 'example.org', data: web, ttl: 60 }],
  'mail.example.com': () => [{ type: 'A', name: 'mail.example.com', data: mail, ttl: 60 }],
  'store.example.com': () => [{ type: 'A', name: 'store.example.com', data: store, ttl: 60 }],
  'other.example.com': () => [{ type: 'A', name: 'other.example.com', data: other, ttl: 60 }],
  'inside.example.com': () => [{ type: 'A', name: 'inside.example.com', data: shut[0] as string, ttl: 0 }],
  // Public when it is looked at, private when it is used.
  'rebind.example.com': (asked) => [{ type: 'A', name: 'rebind.example.com', data: asked === 0 ? web : (shut[0] as string), ttl: 0 }],
  // Of another name than the one that was asked for.
  'stuffed.example.com': () => [
    { type: 'A', name: 'stuffed.example.com', data: web, ttl: 60 },
    { type: 'A', name: 'elsewhere.example.com', data: other, ttl: 60 },
  ],
}
const asked = new Map<string, number>()
function answer(query: Buffer): dns.Packet {
  const { id = 0, questions = [] } = dns.decode(query)
  const [question] = questions
  const name = question?.name.toLowerCase() ?? ''
  const flags = dns.RECURSION_DESIRED | dns.RECURSION_AVAILABLE
  if (question?.type === 'TXT' && name === 'long.example.com')
    return {
      type: 'response',
      id,
      flags,
      questions,
      answers: [{ type: 'TXT', name, ttl: 60, data: Array.from({ length: 8 }, (_, i) => String(i).repeat(200)) }],
    }
  const found = NAMES[name]
  if (!found) return { type: 'response', id, flags: flags | 3, questions }
  if (question?.type !== 'A') return { type: 'response', id, flags, questions }
  const before = asked.get(name) ?? 0
  asked.set(name, before + 1)
  return { type: 'response', id, flags, questions, answers: found(before) }
}
const names = createSocket('udp4')
names.on('message', (query, { address, port }) => {
  const packet = answer(query)
  const whole = dns.encode(packet)
  names.send(whole.length <= 512 ? whole : dns.encode({ ...packet, flags: (packet.flags ?? 0) | dns.TRUNCATED_RESPONSE, answers: [] }), port, address)
})
listening.push(new Promise<void>((resolve) => names.bind(53, store, resolve)))
listen(
  createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (query: Buffer) => socket.end(dns.streamEncode(answer(query.subarray(2)))))
  }),
  53,
  store,
)

await Promise.all(listening)
process.stdout.write('listening\n')
