import assert from 'node:assert/strict'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { readdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { request as open } from 'node:http'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import {
  CreateAliasCommand,
  CreateFunctionCommand,
  CreateFunctionUrlConfigCommand,
  DeleteFunctionUrlConfigCommand,
  GetProvisionedConcurrencyConfigCommand,
  InvokeCommand,
  InvokeWithResponseStreamCommand,
  type LambdaClient,
  PublishVersionCommand,
  PutFunctionConcurrencyCommand,
  PutProvisionedConcurrencyConfigCommand,
  UpdateAliasCommand,
  UpdateFunctionCodeCommand,
} from '@aws-sdk/client-lambda'
import { createClient } from '@supabase/supabase-js'
import { sandboxes } from '../soak/look.ts'
import { awsOf } from './aws.ts'
import { makeFolder, processes, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const until = async (what: string, done: () => boolean | Promise<boolean>) => {
  for (let i = 0; i < 1_500; i++) {
    // A process that is being killed may take the question with it.
    if (await (async () => await done())().catch(() => false)) return
    await pause(20)
  }
  assert.fail(`never: ${what}`)
}

const isolated = process.getuid?.() === 0
const killIfThere = (pid: number) => {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself.
  }
}

const SAYS = (word: string) => `export const handler = async () => '${word}'`
/** Attacks the process that has its sandbox, and through that one the main process, for so long as it is asked. */
const HOSTILE = `
import { spawn } from 'node:child_process'
import fs from 'node:fs'
const frame = (type, stream, payload = '') => { const f = Buffer.alloc(12 + payload.length); f.writeUInt32LE(payload.length, 0); f[4] = type; f.writeUInt32LE(stream, 8); f.write(payload, 12, 'latin1'); return f }
const write = (fd, bytes) => { for (let at = 0; at < bytes.length; ) try { at += fs.writeSync(fd, bytes, at) } catch (error) { if (error.code !== 'EAGAIN') throw error } }
const authorization = 'Bearer ' + process.env.MAYFLY_KEY
const url = (path) => process.env.MAYFLY_URL + path
const open = new Set()
let stream = 1_000_000
const ATTACKS = {
  frames: () => write(3, Buffer.concat(Array.from({ length: 5000 }, () => frame(10, 1, '\\0\\0\\x04\\0')))),
  // For a sandbox of its own: the runtime's connections would have numbers below these.
  connections: () => write(4, Buffer.concat(Array.from({ length: 1000 }, () => [frame(20, ++stream), frame(6, stream, 'GET /storage/v1/bucket HTTP/1.1\\r\\nhost: a\\r\\n\\r\\n'), frame(21, stream)]).flat())),
  // Nobody waits for the answer.
  calls: () => { const leave = new AbortController(); for (let i = 0; i < 20; i++) fetch(url('/functions/v1/n' + i % 6), { headers: { authorization }, signal: leave.signal }).catch(() => {}); setTimeout(() => leave.abort(), 5) },
  // What the main process keeps; the body never ends.
  uploads: () => {
    if (open.size >= 50) return
    const one = {}
    open.add(one)
    const body = new ReadableStream({ pull: async (to) => { to.enqueue(new Uint8Array(65536)); await new Promise((r) => setTimeout(r, 1)) } })
    fetch(url('/storage/v1/object/things/' + crypto.randomUUID()), { method: 'POST', duplex: 'half', headers: { authorization, 'content-type': 'text/plain' }, body }).catch(() => {}).finally(() => open.delete(one))
  },
  headers: () => void fetch(url('/storage/v1/bucket'), { headers: { authorization, 'mayfly-hop': '{"remote":"1.2.3.4","relay":null,"added":[]}', 'mayfly-left': '1', connection: 'mayfly-hop' } }).then((r) => r.arrayBuffer(), () => {}),
}
export default { async fetch(request) {
  const { searchParams: asked } = new URL(request.url)
  if (asked.has('stay')) { spawn('sleep', ['86417'], { detached: true }); fs.writeFileSync('/tmp/left', 'x'); for (;;) ATTACKS.frames() }
  const end = Date.now() + Number(asked.get('ms'))
  while (Date.now() < end) { ATTACKS[asked.get('what')](); await new Promise((r) => setTimeout(r, 2)) }
  return new Response('over', { headers: { 'mayfly-left': '1', 'mayfly-hop': '{}' } })
} }`
/** Answers, streams, calls back and waits, as it is asked. */
const CODE = `
export default { async fetch(request, env) {
  const url = new URL(request.url)
  const ms = Number(url.searchParams.get('ms') ?? 0)
  if (url.pathname.endsWith('/stream')) {
    const { readable, writable } = new TransformStream()
    const writer = writable.getWriter()
    void (async () => {
      await writer.write(new TextEncoder().encode('first '))
      await new Promise((resolve) => setTimeout(resolve, ms))
      await writer.write(new TextEncoder().encode('last'))
      await writer.close()
    })()
    return new Response(readable)
  }
  if (url.pathname.endsWith('/relay')) {
    const authorization = 'Bearer ' + process.env.MAYFLY_KEY
    const put = await fetch(process.env.MAYFLY_URL + '/storage/v1/object/things/' + crypto.randomUUID(), { method: 'POST', headers: { authorization, 'content-type': 'text/plain' }, body: 'x'.repeat(200000) })
    const other = await fetch(process.env.MAYFLY_URL + '/functions/v1/echo/', { headers: { authorization } })
    const foreign = await fetch(process.env.MAYFLY_URL + '/storage/v1/bucket', { headers: { authorization: 'Bearer ' + url.searchParams.get('key') } })
    return Response.json({ put: put.status, other: other.status, foreign: foreign.status })
  }
  await new Promise((resolve) => setTimeout(resolve, ms))
  return Response.json({ secret: process.env.WORD ?? null, from: request.headers.get('x-forwarded-for') })
} }`

interface Status {
  readonly pool: {
    readonly running: number
    readonly sandboxes: readonly { readonly functionName: string; readonly version: string; readonly calls: number }[]
    readonly workers: readonly { readonly worker: number; readonly pid: number; readonly state: string; readonly restarts: number }[]
  }
}

describe('a node of three processes', () => {
  let folder = ''
  let data = ''
  let node: RunningMayfly
  let aws: LambdaClient
  const start = async () => {
    node = await startMayfly(data, ['--empty', '--workers', '2'])
    aws = awsOf(node.ready)
  }
  const operator = () => (JSON.parse(readFileSync(path.join(data, 'run.json'), 'utf8')) as { operatorToken: string }).operatorToken
  const manage = async (method: string, route: string, body?: unknown) => {
    const reply = await fetch(`${node.ready.url}${route}`, {
      method,
      // On a connection of its own: one that is kept ends with the process that has it.
      headers: { authorization: `Bearer ${operator()}`, connection: 'close' },
      ...(body === undefined ? {} : { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }),
    })
    const text = await reply.text()
    assert.ok(reply.ok, `${method} ${route}: ${reply.status} ${text}`)
    return text === '' ? null : (JSON.parse(text) as unknown)
  }
  const status = async () => (await manage('GET', '/api/v1/status')) as Status
  const executionsOf = async () => ((await manage('GET', '/api/v1/projects/demo/usage')) as { total: { executions: number; cut: number } }).total
  /** A call on a connection of its own, so that any process may be the one that takes it. */
  const call = (at: string, headers: Record<string, string> = {}) =>
    new Promise<{ status: number; text: string; cold: string | undefined }>((resolve, reject) => {
      const url = new URL(`${node.ready.url}${at}`)
      const sent = open(url, { agent: false, headers: { apikey: node.ready.project.secretKey, ...headers } }, (answer) => {
        let text = ''
        answer.setEncoding('utf8')
        answer.on('data', (chunk: string) => {
          text += chunk
        })
        answer.on('error', reject)
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text, cold: answer.headers['x-mayfly-cold'] as string | undefined }))
      })
      sent.on('error', reject)
      sent.end()
    })
  const create = async (name: string, code: string) =>
    await aws.send(
      new CreateFunctionCommand({
        FunctionName: name,
        Runtime: 'nodejs24.x',
        Handler: 'index.handler',
        Role: ROLE,
        Timeout: 20,
        MemorySize: 128,
        Code: { ZipFile: await zipOf({ 'index.mjs': code }) },
      }),
    )
  const deploy = async (name: string, code: string) =>
    await aws.send(new UpdateFunctionCodeCommand({ FunctionName: name, ZipFile: await zipOf({ 'index.mjs': code }) }))
  const invoke = async (name: string, qualifier?: string) => {
    const reply = await aws.send(new InvokeCommand({ FunctionName: name, ...(qualifier ? { Qualifier: qualifier } : {}) }))
    return Buffer.from(reply.Payload ?? []).toString()
  }

  before(async () => {
    folder = makeFolder()
    data = path.join(folder, 'data')
    await start()
    await create('echo', CODE)
  })
  after(async () => {
    aws?.destroy()
    await node?.stop()
    removeFolder(folder)
  })

  it('says so', async () => {
    const health = (await (await fetch(`${node.ready.url}/health`)).json()) as { workers: unknown }
    assert.deepEqual(health.workers, { wanted: 2, ready: 2 })
    const { workers } = (await status()).pool
    assert.deepEqual(
      workers.map(({ worker, state, restarts }) => ({ worker, state, restarts })),
      [
        { worker: 1, state: 'ready', restarts: 0 },
        { worker: 2, state: 'ready', restarts: 0 },
      ],
    )
    const page = await (await fetch(`${node.ready.url}/metrics`, { headers: { authorization: `Bearer ${operator()}` } })).text()
    assert.match(page, /mayfly_workers\{state="ready"\} 2/)
  })

  it('has one warm sandbox for a function that is called now and then, whichever process takes the call', async () => {
    const first = await call('/functions/v1/echo')
    assert.deepEqual([first.status, (JSON.parse(first.text) as { from: string }).from], [200, '127.0.0.1'])
    for (let i = 0; i < 12; i++) assert.deepEqual([(await call('/functions/v1/echo')).status, (await call('/functions/v1/echo')).cold], [200, undefined])
    const own = (await status()).pool.sandboxes.filter(({ functionName }) => functionName === 'echo')
    assert.deepEqual([own.length, own[0]?.calls], [1, 25])
  })

  it('has its functions in all of its workers, and each execution once in the bill', async () => {
    const names = Array.from({ length: 8 }, (_, at) => `f${at}`)
    await Promise.all(names.map((name) => create(name, SAYS(name))))
    const before = (await executionsOf()).executions
    for (const name of names) for (let i = 0; i < 3; i++) assert.equal((await call(`/functions/v1/${name}`)).text, name)
    for (const name of names) assert.equal(await invoke(name), JSON.stringify(name))
    assert.equal((await executionsOf()).executions - before, 32)
    for (const worker of [1, 2]) {
      const meters = path.join(data, 'journal', `worker-${worker}`, 'meters')
      assert.ok(
        readdirSync(meters).some((name) => statSync(path.join(meters, name)).size > 0),
        `worker ${worker} has run nothing`,
      )
    }
  })

  it('serves nothing that was before what a management call has answered', async () => {
    await create('changes', SAYS('0'))
    const zip = await zipOf({ 'index.mjs': CODE })
    const artefact = createHash('sha256').update(zip).digest('hex')
    await manage('PUT', `/api/v1/projects/demo/artefacts/${artefact}`, zip)
    await manage('PUT', '/api/v1/projects/demo/functions/tells', { artefact, runtime: 'nodejs24.x', handler: 'index.handler', secrets: ['WORD'], memory: 128 })
    const everywhere = async (expected: (text: string, code: number) => boolean, at: string, what: string) => {
      const answers = await Promise.all(Array.from({ length: 6 }, () => call(at)))
      for (const { text, status: code } of answers) assert.ok(expected(text, code), `${what}: ${code} ${text}`)
    }
    for (let round = 1; round <= 3; round++) {
      await deploy('changes', SAYS(String(round)))
      await everywhere((text) => text === String(round), '/functions/v1/changes', `deploy ${round}`)
      assert.equal(await invoke('changes'), `"${round}"`)
      await manage('PUT', '/api/v1/projects/demo/secrets', { secrets: { WORD: `w${round}` } })
      await everywhere((text) => text.includes(`"w${round}"`), '/functions/v1/tells', `secret ${round}`)
      const { Version } = await aws.send(new PublishVersionCommand({ FunctionName: 'changes' }))
      const alias = { FunctionName: 'changes', Name: 'live', FunctionVersion: Version }
      await (round === 1 ? aws.send(new CreateAliasCommand(alias)) : aws.send(new UpdateAliasCommand(alias)))
      assert.equal(await invoke('changes', 'live'), `"${round}"`)
      const { FunctionUrl } = await aws.send(new CreateFunctionUrlConfigCommand({ FunctionName: 'changes', AuthType: 'NONE' }))
      const at = new URL(FunctionUrl as string).pathname
      await everywhere((text) => text === String(round), at, `address ${round}`)
      await aws.send(new DeleteFunctionUrlConfigCommand({ FunctionName: 'changes' }))
      await everywhere((_, code) => code === 403, at, `no address ${round}`)
      await aws.send(new PutFunctionConcurrencyCommand({ FunctionName: 'changes', ReservedConcurrentExecutions: 0 }))
      await everywhere((_, code) => code === 429, '/functions/v1/changes', `shut ${round}`)
      await aws.send(new PutFunctionConcurrencyCommand({ FunctionName: 'changes', ReservedConcurrentExecutions: 5 + round }))
    }
  })

  it('ends all that is of a project with it, in every process', async () => {
    const { keys } = (await manage('POST', '/api/v1/projects', { ref: 'guest', name: 'guest' })) as { keys: { secretKey: string } }
    const { secretKey } = keys
    assert.equal((await call('/p/guest/functions/v1/none', { apikey: secretKey })).status, 404)
    await manage('DELETE', '/api/v1/projects/guest')
    for (let i = 0; i < 6; i++) {
      const { text, status: code } = await call('/p/guest/functions/v1/none', { apikey: secretKey })
      assert.deepEqual([code, (JSON.parse(text) as { code: string }).code], [404, 'project_not_found'])
    }
  })

  it('lets a function run as often at once as is reserved for it, over all processes', async () => {
    await aws.send(new PutFunctionConcurrencyCommand({ FunctionName: 'echo', ReservedConcurrentExecutions: 3 }))
    const event = Buffer.from(JSON.stringify({}))
    await create('sleeps', `export const handler = () => new Promise((resolve) => setTimeout(resolve, 1500))`)
    await aws.send(new PutFunctionConcurrencyCommand({ FunctionName: 'sleeps', ReservedConcurrentExecutions: 3 }))
    for (let round = 0; round < 2; round++) {
      const all = await Promise.allSettled(Array.from({ length: 12 }, () => aws.send(new InvokeCommand({ FunctionName: 'sleeps', Payload: event }))))
      const refused = all.flatMap((one) => (one.status === 'rejected' ? [(one.reason as Error).name] : []))
      assert.deepEqual(
        refused,
        Array.from({ length: 9 }, () => 'TooManyRequestsException'),
      )
    }
    await aws.send(new PutFunctionConcurrencyCommand({ FunctionName: 'echo', ReservedConcurrentExecutions: 50 }))
  })

  it('streams through whichever process took the call', async () => {
    for (let i = 0; i < 6; i++) {
      const reply = await fetch(`${node.ready.url}/functions/v1/echo/stream?ms=300`, { headers: { apikey: node.ready.project.secretKey, connection: 'close' } })
      const pieces: string[] = []
      for await (const chunk of reply.body as unknown as AsyncIterable<Uint8Array>) pieces.push(Buffer.from(chunk).toString())
      assert.deepEqual(pieces, ['first ', 'last'])
    }
    const reply = await aws.send(new InvokeWithResponseStreamCommand({ FunctionName: 'f0' }))
    let text = ''
    for await (const event of reply.EventStream ?? []) text += Buffer.from(event.PayloadChunk?.Payload ?? []).toString()
    assert.equal(text, '"f0"')
  })

  it('takes what a sandbox of a worker asks of the platform, with its own key and no other', async () => {
    const supabase = createClient(node.ready.url, node.ready.project.secretKey)
    await supabase.storage.createBucket('things')
    for (let i = 0; i < 6; i++) {
      const { text } = await call(`/functions/v1/echo/relay?key=${node.ready.project.secretKey}`)
      assert.deepEqual(JSON.parse(text), { put: 200, other: 200, foreign: 401 }, text)
    }
    const { data: objects } = await supabase.storage.from('things').list()
    assert.equal(objects?.length, 6)
  })

  it('carries realtime', async () => {
    const supabase = createClient(node.ready.url, node.ready.project.publishableKey)
    for (let i = 0; i < 4; i++) {
      const heard = Promise.withResolvers<unknown>()
      const channel = supabase.channel(`room-${i}`, { config: { broadcast: { self: true } } })
      channel.on('broadcast', { event: 'hello' }, ({ payload }) => heard.resolve(payload))
      await new Promise<void>((resolve) => channel.subscribe((state) => state === 'SUBSCRIBED' && resolve()))
      await channel.send({ type: 'broadcast', event: 'hello', payload: { i } })
      assert.deepEqual(await heard.promise, { i })
      await supabase.removeChannel(channel)
    }
    supabase.realtime.disconnect()
  })

  it('goes on when workers are killed under load: their calls end, all others are served, each execution counts once, and what is provisioned is loaded again', async () => {
    const { Version } = await aws.send(new PublishVersionCommand({ FunctionName: 'f1' }))
    await aws.send(new PutProvisionedConcurrencyConfigCommand({ FunctionName: 'f1', Qualifier: Version, ProvisionedConcurrentExecutions: 2 }))
    const isReady = async () => {
      const state = await aws.send(new GetProvisionedConcurrencyConfigCommand({ FunctionName: 'f1', Qualifier: Version }))
      return state.Status === 'READY' && state.AvailableProvisionedConcurrentExecutions === 2
    }
    await until('two are loaded', isReady)
    const before = await executionsOf()
    const { workers } = (await status()).pool
    let isOver = false
    const seen = { ok: 0, lost: 0, other: [] as string[] }
    const client = async (at: number) => {
      while (!isOver) {
        await call(`/functions/v1/f${at % 8}`).then(
          ({ status: code, text }) => {
            if (code === 200) seen.ok++
            else if (code === 502) seen.lost++
            else seen.other.push(`${code} ${text}`)
          },
          () => seen.lost++,
        )
      }
    }
    const clients = Array.from({ length: 8 }, (_, at) => client(at))
    const end = async () => {
      isOver = true
      await Promise.all(clients)
    }
    await using _ = { [Symbol.asyncDispose]: end }
    for (const { worker, pid } of workers) {
      await until('calls are served', () => seen.ok > 50 * worker)
      process.kill(pid, 'SIGKILL')
      const from = seen.ok
      await until('calls go on', () => seen.ok > from + 20)
      await until('it is back', async () => (await status()).pool.workers.every((one) => one.state === 'ready' && one.pid !== pid))
    }
    await end()
    assert.deepEqual(seen.other, [])
    const after = await executionsOf()
    const executions = after.executions - before.executions
    // What was answered is billed; what was lost may have ended before it could be told, and is billed once or not at all.
    assert.ok(executions >= seen.ok && executions <= seen.ok + seen.lost, `${executions} for ${seen.ok} answers and ${seen.lost} losses`)
    const { pool } = await status()
    assert.ok(pool.workers.every(({ restarts }) => restarts > 0))
    assert.equal(pool.running, 0)
    await until('two are loaded again', isReady)
  })

  it('keeps what it acknowledged when workers are killed: uploads, events and broadcasts, and no stream that was cut looks whole', async () => {
    await create(
      'notes',
      `export const handler = async ({ id }) => {
  const headers = { authorization: 'Bearer ' + process.env.MAYFLY_KEY, 'content-type': 'text/plain', 'x-upsert': 'true' }
  const put = await fetch(process.env.MAYFLY_URL + '/storage/v1/object/things/note-' + id, { method: 'POST', headers, body: id })
  if (!put.ok) throw new Error(await put.text())
}`,
    )
    const supabase = createClient(node.ready.url, node.ready.project.secretKey)
    const things = supabase.storage.from('things')
    let isOver = false
    const kept = new Map<string, Buffer>()
    const notes = new Set<string>()
    const seen = { streams: 0, wrong: [] as string[] }
    /** Each on a connection of its own; what fails with its process is done anew. */
    const uploads = async () => {
      while (!isOver) {
        const name = `up-${randomUUID()}`
        const bytes = randomBytes(200_000)
        const headers = { apikey: node.ready.project.secretKey, connection: 'close', 'content-type': 'application/octet-stream' }
        const reply = await fetch(`${node.ready.url}/storage/v1/object/things/${name}`, { method: 'POST', headers, body: new Uint8Array(bytes) }).catch(
          () => null,
        )
        if (reply?.ok) kept.set(name, bytes)
        await pause(20)
      }
    }
    const events = async () => {
      while (!isOver) {
        const id = randomUUID()
        const client = awsOf(node.ready)
        await client
          .send(new InvokeCommand({ FunctionName: 'notes', InvocationType: 'Event', Payload: Buffer.from(JSON.stringify({ id })) }))
          .then(({ StatusCode }) => void (StatusCode === 202 && notes.add(id)))
          .catch(() => {})
        client.destroy()
        await pause(40)
      }
    }
    const streams = async () => {
      while (!isOver) {
        const got = await call('/functions/v1/echo/stream?ms=150').catch(() => null)
        if (got?.status !== 200) continue
        if (got.text === 'first last') seen.streams++
        else seen.wrong.push(got.text)
      }
    }
    let heard = 0
    const listener = createClient(node.ready.url, node.ready.project.publishableKey, { realtime: { reconnectAfterMs: () => 100 } })
    listener
      .channel('room')
      .on('broadcast', { event: 'tick' }, () => heard++)
      .subscribe()
    const ticks = async () => {
      while (!isOver) {
        const headers = { apikey: node.ready.project.secretKey, connection: 'close', 'content-type': 'application/json' }
        const body = JSON.stringify({ messages: [{ topic: 'room', event: 'tick', payload: {} }] })
        await fetch(`${node.ready.url}/realtime/v1/api/broadcast`, { method: 'POST', headers, body }).catch(() => {})
        await pause(50)
      }
    }
    const clients = [uploads(), uploads(), events(), streams(), streams(), streams(), ticks()]
    const end = async () => {
      isOver = true
      await Promise.all(clients)
      await listener.removeAllChannels()
      listener.realtime.disconnect()
    }
    await using _ = { [Symbol.asyncDispose]: end }
    const all = () => [kept.size, notes.size, seen.streams, heard] as const
    const allMove = async (what: string) => {
      const from = all()
      await until(what, () => all().every((now, at) => now > (from[at] ?? 0) + 2))
    }
    await allMove('everything works')
    for (const { worker, pid } of (await status()).pool.workers) {
      process.kill(pid as number, 'SIGKILL')
      await allMove(`everything works without worker ${worker}`)
      await until('it is back', async () => (await status()).pool.workers.every((one) => one.state === 'ready' && one.pid !== pid))
    }
    await end()
    assert.deepEqual(seen.wrong, [])
    for (const [name, bytes] of kept) {
      const { data: found } = await things.download(name)
      assert.ok(found && bytes.equals(Buffer.from(await found.arrayBuffer())), `${name} was acknowledged`)
    }
    await until('each event that was acknowledged has run', async () => {
      const { data: found } = await things.list('', { limit: 10_000, search: 'note-' })
      const names = new Set((found ?? []).map(({ name }) => name))
      return [...notes].every((id) => names.has(`note-${id}`))
    })
  })

  it('ends a worker that hangs: what it was asked ends, what is changed meanwhile is known to all, and the next one serves', async () => {
    const names = Array.from({ length: 6 }, (_, at) => `h${at}`)
    await Promise.all(names.map((name) => create(name, SAYS(`${name} before`))))
    for (const name of names) assert.equal((await call(`/functions/v1/${name}`)).text, `${name} before`)
    const { pid } = (await status()).pool.workers[0] as { pid: number }
    process.kill(pid, 'SIGSTOP')
    const asked = Promise.all(names.map(async (name) => await call(`/functions/v1/${name}`).catch(() => null)))
    // On a connection that the hanging one has, it fails with that; what was answered holds everywhere.
    for (const name of names) await until(`${name} is deployed`, async () => (await deploy(name, SAYS(`${name} after`))) !== null)
    for (const name of names) assert.equal((await call(`/functions/v1/${name}`)).text, `${name} after`)
    for (const got of await asked)
      assert.ok(got === null || got.status === 502 || (got.status === 200 && / (before|after)$/.test(got.text)), JSON.stringify(got))
    await until('another is in its place', async () => (await status()).pool.workers.every((one) => one.state === 'ready' && one.pid !== pid))
    assert.ok(!processes().some((one) => one.pid === pid))
    for (let i = 0; i < 3; i++) for (const name of names) assert.equal((await call(`/functions/v1/${name}`)).text, `${name} after`)
  })

  it('says in /health what does not work in one of its workers, and no more when it works again', {
    skip: !isolated && 'sandboxes of root are broken',
  }, async () => {
    type Health = { readonly sandbox: { readonly problems: readonly { readonly what: string }[] } }
    const problems = async () => ((await (await fetch(`${node.ready.url}/health`)).json()) as Health).sandbox.problems.map(({ what }) => what)
    assert.deepEqual(await problems(), [])
    const { instanceId } = JSON.parse(readFileSync(path.join(data, 'instance.json'), 'utf8')) as { instanceId: string }
    const root = `/run/mayfly-sandboxes-${instanceId.replaceAll('-', '').slice(-12)}-w2/root`
    renameSync(root, `${root}-away`)
    try {
      // What waits there is lost, and nothing can be started in its place.
      for (const [id, pids] of sandboxes(data)) if (id.includes('-w2/')) for (const pid of pids) killIfThere(pid)
      await until('it says so', async () => (await problems()).includes('runtime nodejs24.x'))
    } finally {
      renameSync(`${root}-away`, root)
    }
    await until('it is well', async () => (await problems()).length === 0)
  })

  it('goes on beside a function that attacks the process of its sandbox: each of the others serves, none ends, and nothing stays of it', async () => {
    await Promise.all([create('hostile', HOSTILE), create('torn', HOSTILE), ...Array.from({ length: 6 }, (_, at) => create(`n${at}`, SAYS(`n${at}`)))])
    for (let at = 0; at < 6; at++) assert.equal((await call(`/functions/v1/n${at}`)).status, 200)
    const before = (await status()).pool.workers.map(({ pid }) => pid)
    for (const what of ['frames', 'calls', 'uploads', 'headers', 'connections']) {
      let isOver = false
      const name = what === 'connections' ? 'torn' : 'hostile'
      const attack = call(`/functions/v1/${name}?what=${what}&ms=1500`).finally(() => {
        isOver = true
      })
      do {
        for (let at = 0; at < 6; at++) {
          const { status: code, text } = await call(`/functions/v1/n${at}`)
          // What it calls without end counts as calls of the project.
          assert.ok((code === 200 && text === `n${at}`) || (what === 'calls' && code === 429), `${what}: ${code} ${text}`)
        }
        assert.equal((await call('/storage/v1/bucket')).status, 200, what)
      } while (!isOver)
      assert.deepEqual([(await attack).status, (await attack).text], [200, 'over'], what)
    }
    assert.deepEqual(
      (await status()).pool.workers.map(({ pid }) => pid),
      before,
    )
    await until('nothing runs any more', async () => (await status()).pool.running === 0)
    const stays = call('/functions/v1/hostile?stay').catch(() => null)
    const left = () => processes().filter(({ args }) => args.includes('sleep 86417'))
    await until('it has begun', () => left().length > 0)
    for (const pid of before) process.kill(pid, 'SIGKILL')
    await until('both are back', async () => (await status()).pool.workers.every((one) => one.state === 'ready' && !before.includes(one.pid)))
    await stays
    assert.deepEqual(left(), [])
    for (let at = 0; at < 6; at++) assert.equal((await call(`/functions/v1/n${at}`)).text, `n${at}`)
  })

  it('lets calls end when it stops', async () => {
    const slow = Array.from({ length: 6 }, () => call('/functions/v1/echo?ms=1500'))
    await until('they run', async () => (await status()).pool.running === 6)
    const { workers } = (await status()).pool
    const [code, ...answers] = await Promise.all([node.stop(), ...slow])
    assert.equal(code, 0)
    for (const { status: of } of answers) assert.equal(of, 200)
    for (const { pid } of workers) assert.ok(!processes().some((one) => one.pid === pid))
  })

  it('ends with its main process, however that ends, and begins cleanly with fewer', async () => {
    await start()
    const before = await executionsOf()
    for (let i = 0; i < 8; i++) assert.equal((await call(`/functions/v1/f${i}`)).text, `f${i}`)
    const running = call('/functions/v1/echo?ms=20000')
    running.catch(() => {})
    await until('it runs', async () => (await status()).pool.running === 1)
    const { workers } = (await status()).pool
    await node.kill()
    await assert.rejects(running)
    await until('the workers are gone', () => workers.every(({ pid }) => !processes().some((one) => one.pid === pid)))
    aws.destroy()
    node = await startMayfly(data, ['--empty', '--workers', '1', '--sandbox-memory-mb', '600'])
    aws = awsOf(node.ready)
    const after = await executionsOf()
    assert.deepEqual([after.executions - before.executions, after.cut - before.cut], [8, 1])
    assert.equal((await call('/functions/v1/f1')).text, 'f1')
    // Of 600 MB half is each process's, and a half of that it may have of the other: three sandboxes of 128, where the half has room for two.
    const three = Array.from({ length: 3 }, () => call('/functions/v1/echo?ms=3000'))
    await until('all three run', async () => (await status()).pool.running === 3)
    for (const { status: of } of await Promise.all(three)) assert.equal(of, 200)
  })
})
