import { spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { install } from './installed.ts'
import { pause } from './measure.ts'

/** The server that all share, and who asks. */
export interface Place {
  readonly folder: string
  readonly host: string
  readonly user: string
  readonly password: string
  readonly owner: string
  readonly rows: number
}

/** One that answers with rows over HTTP. */
export interface DataPeer {
  readonly name: string
  readonly aim?: number
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** How wrk asks, in Lua. */
  readonly request: (kind: string) => string
  readonly stop: () => void
}

async function served(prefix: string, file: string, text: string, port: number, env: Readonly<Record<string, string>>): Promise<() => void> {
  const program = path.join(prefix, file)
  writeFileSync(program, text)
  const child = spawn(process.execPath, [program], {
    cwd: prefix,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ...env, NODE_ENV: 'production' },
  })
  for (let tries = 0; tries < 150; tries++) {
    const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => null)
    await answer?.arrayBuffer()
    if (answer) return () => void child.kill()
    if (child.exitCode !== null) break
    await pause(200)
  }
  child.kill()
  throw new Error(`${file} did not start`)
}

const jsonText = (value: unknown) => JSON.stringify(value).replaceAll('\\', '\\\\').replaceAll("'", "\\'")
const lua = (pathname: string, body: unknown) => `request = function() return wrk.format("POST", "${pathname}", nil, '${jsonText(body)}') end`

const BARE = `
import { createServer } from 'node:http'
import pg from ${JSON.stringify(path.resolve(import.meta.dirname, '..', 'node_modules', 'pg', 'esm', 'index.mjs'))}
const { HOST: host, DBUSER: user, PASSWORD: password, OWNER: owner } = process.env
const clients = []
for (let n = 0; n < 4; n++) {
  const client = new pg.Client({ host, user, password, database: 'postgres', port: 5432, pipeline: true })
  await client.connect()
  clients.push(client)
}
const asked = {
  '/insert': () => ({ name: 'insert', text: 'insert into plain.items (title, owner) values ($1, $2) returning *', values: ['a new item', owner] }),
  '/key': (id) => ({ name: 'key', text: 'select * from plain.items where id = $1', values: [id] }),
  '/list': () => ({ name: 'list', text: 'select * from plain.items order by id limit 20' }),
}
let turn = 0
createServer((request, response) => {
  const [path, id] = request.url.split('?')
  if (!asked[path]) return response.end('{}')
  clients[turn++ % clients.length].query(asked[path](id)).then(
    ({ rows }) => {
      const body = JSON.stringify(rows)
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
      response.end(body)
    },
    () => response.writeHead(500).end(),
  )
}).listen(18100, '127.0.0.1')
`

/** What one thread of Node gives at best: an HTTP server and one query, by whom nobody is asked for a key, a role or a policy. */
export async function bareNode(place: Place): Promise<DataPeer> {
  const stop = await served(place.folder, 'bare.mjs', BARE, 18100, { HOST: place.host, DBUSER: place.user, PASSWORD: place.password, OWNER: place.owner })
  const ask = (pathname: string) => `request = function() return wrk.format("GET", ${pathname}) end`
  return {
    name: 'bare node:http + one pipelined query',
    url: 'http://127.0.0.1:18100',
    headers: {},
    request: (kind) => ask(kind === 'insert' ? '"/insert"' : kind === 'by key' ? `"/key?" .. math.random(1, ${place.rows})` : '"/list"'),
    stop,
  }
}

const POSTGRAPHILE = `
import { createServer } from 'node:http'
import { createHmac, timingSafeEqual } from 'node:crypto'
import { postgraphile } from 'postgraphile'
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber'
import { makePgService } from 'postgraphile/adaptors/pg'
import { grafserv } from 'postgraphile/grafserv/node'
const { HOST: host, DBUSER: user, PASSWORD: password, SECRET } = process.env
const claims = (authorization) => {
  const [head, body, signature] = (authorization ?? '').replace(/^Bearer /, '').split('.')
  const right = createHmac('sha256', SECRET).update(head + '.' + body).digest()
  const shown = Buffer.from(signature ?? '', 'base64url')
  return shown.length === right.length && timingSafeEqual(shown, right) ? Buffer.from(body, 'base64url').toString() : null
}
const preset = {
  extends: [PostGraphileAmberPreset],
  pgServices: [makePgService({ poolConfig: { host, user, password, database: 'postgres', port: 5432 }, schemas: ['public'] })],
  grafast: { context: (request) => {
    const told = claims(request.node?.req.headers.authorization)
    return { pgSettings: told ? { role: 'authenticated', 'request.jwt.claims': told } : { role: 'anon' } }
  } },
  grafserv: { port: 18101, graphqlPath: '/graphql', watch: false },
}
const server = createServer()
const serv = postgraphile(preset).createServ(grafserv)
await serv.addTo(server)
server.listen(18101, '127.0.0.1')
`

/** Row-level security, and a token checked with each call. */
export async function postgraphile(place: Place, kept: string): Promise<DataPeer> {
  const secret = 'a secret of the bench alone, long enough'
  const prefix = install(kept, 'postgraphile', '5.1.5')
  const stop = await served(prefix, 'server.mjs', POSTGRAPHILE, 18101, { HOST: place.host, DBUSER: place.user, PASSWORD: place.password, SECRET: secret })
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ role: 'authenticated', sub: place.owner, exp: 4_000_000_000 })}`
  const token = `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const ask = async (body: object) => {
    const answer = await fetch('http://127.0.0.1:18101/graphql', { method: 'POST', headers, body: JSON.stringify(body) })
    const text = await answer.text()
    if (text.includes('"errors"')) throw new Error(`PostGraphile: ${text.slice(0, 300)}`)
  }
  const fields = 'rowId title done owner createdAt'
  const bodies: Record<string, object> = {
    insert: { query: `mutation { createItem(input: { item: { title: "a new item" } }) { item { ${fields} } } }` },
    'by key': { query: `query one($id: BigInt!) { itemByRowId(rowId: $id) { ${fields} } }`, variables: { id: '1' } },
    'list of 20': { query: `{ allItems(first: 20) { nodes { ${fields} } } }` },
  }
  try {
    for (const body of Object.values(bodies)) await ask(body)
  } catch (error) {
    stop()
    throw error
  }
  const byKey = jsonText(bodies['by key']).replace('"1"', `"' .. math.random(1, ${place.rows}) .. '"`)
  return {
    name: 'PostGraphile',
    aim: 1.5,
    url: 'http://127.0.0.1:18101',
    headers,
    request: (kind) => (kind === 'by key' ? `request = function() return wrk.format("POST", "/graphql", nil, '${byKey}') end` : lua('/graphql', bodies[kind])),
    stop,
  }
}

const PARSE = `
const { ParseServer } = require('parse-server')
const { HOST: host, DBUSER: user, PASSWORD: password } = process.env
const app = require('express')()
void (async () => {
  const server = new ParseServer({
    databaseURI: 'postgres://localhost/postgres', databaseOptions: { host, user, password, database: 'postgres', port: 5432 },
    appId: 'bench', masterKey: 'bench', serverURL: 'http://127.0.0.1:18102/parse', silent: true, verbose: false, allowClientClassCreation: true,
  })
  await server.start()
  app.use('/parse', server.app)
  app.listen(18102, '127.0.0.1')
})()
`

/** Objects that only their user may read, and his session checked with each call. */
export async function parseServer(place: Place, kept: string): Promise<DataPeer> {
  const prefix = install(kept, 'parse-server', '9.10.0')
  const stop = await served(prefix, 'server.cjs', PARSE, 18102, { HOST: place.host, DBUSER: place.user, PASSWORD: place.password })
  const at = 'http://127.0.0.1:18102/parse'
  const headers: Record<string, string> = { 'x-parse-application-id': 'bench', 'content-type': 'application/json' }
  const post = async (route: string, body: object): Promise<Record<string, string>> => {
    const answer = await fetch(`${at}/${route}`, { method: 'POST', headers, body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`parse-server: ${route}: ${answer.status} ${await answer.text()}`)
    return (await answer.json()) as Record<string, string>
  }
  try {
    const { objectId, sessionToken } = await post('users', { username: 'bench', password: 'a password of some length' })
    headers['x-parse-session-token'] = sessionToken as string
    const object = { title: 'a new item', done: false, ACL: { [objectId as string]: { read: true, write: true } } }
    const ids: string[] = []
    for (let n = 0; n < 200; n++) ids.push((await post('classes/Item', object)).objectId as string)
    return {
      name: 'parse-server',
      aim: 2,
      url: 'http://127.0.0.1:18102',
      headers,
      request: (kind) =>
        kind === 'insert'
          ? lua('/parse/classes/Item', object)
          : kind === 'by key'
            ? `local ids = {${ids.map((id) => `"${id}"`).join(',')}}\nrequest = function() return wrk.format("GET", "/parse/classes/Item/" .. ids[math.random(1, #ids)]) end`
            : 'request = function() return wrk.format("GET", "/parse/classes/Item?limit=20&order=objectId") end',
      stop,
    }
  } catch (error) {
    stop()
    throw error
  }
}
