import assert from 'node:assert/strict'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createClient, type RealtimeChannel, type SupabaseClient } from '@supabase/supabase-js'
import { WebSocket } from 'ws'
import { makeFolder, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

const open = new Set<{ end: () => void }>()
after(() => {
  for (const one of open) one.end()
})

function clientOf(url: string, key: string, options: Record<string, unknown> = {}): SupabaseClient {
  const client = createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false }, realtime: { transport: WebSocket as never, ...options } })
  open.add({ end: () => void client.realtime.disconnect() })
  return client
}

async function until(what: () => boolean, label: string, ms = 15_000): Promise<void> {
  const deadline = performance.now() + ms
  while (!what()) {
    if (performance.now() > deadline) throw new Error(`never came: ${label}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
const subscribed = (channel: RealtimeChannel) =>
  new Promise<void>((resolve, reject) => {
    channel.subscribe((status, error) => {
      if (status === 'SUBSCRIBED') resolve()
      else if (status !== 'CLOSED') reject(new Error(`${status}: ${error?.message}`))
    })
  })

/** A client that writes protocol 1.0.0 by hand. */
async function rawSocket(url: string, headers: Record<string, string> = {}) {
  const socket = new WebSocket(url, { headers })
  open.add({ end: () => socket.terminate() })
  const frames: { topic: string; event: string; payload: Record<string, unknown>; ref: string | null }[] = []
  socket.on('message', (data) => frames.push(JSON.parse(data.toString())))
  let closed: number | null = null
  socket.on('close', (code) => {
    closed = code
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
  })
  return {
    socket,
    frames,
    closed: () => closed,
    send: (topic: string, event: string, payload: unknown, ref: string) => socket.send(JSON.stringify({ topic, event, payload, ref, join_ref: null })),
    reply: async (ref: string) => {
      await until(() => frames.some((frame) => frame.event === 'phx_reply' && frame.ref === ref), `a reply to ${ref}`)
      return frames.find((frame) => frame.event === 'phx_reply' && frame.ref === ref)?.payload as { status: string; response: Record<string, unknown> }
    },
  }
}

/** The answer to a handshake that is refused. */
function refusal(url: string, headers: Record<string, string> = {}): Promise<{ status: number; body: Record<string, string> }> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { headers })
    socket.on('open', () => reject(new Error('it was let in')))
    socket.on('error', () => {})
    socket.on('unexpected-response', (_request, response) => {
      let text = ''
      response.on('data', (chunk) => {
        text += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) }))
    })
  })
}

describe('realtime', () => {
  let folder = ''
  let node: RunningMayfly
  let url = ''
  let publishable = ''
  let secret = ''
  const wsUrl = (query: string, prefix = '') => `${url.replace('http', 'ws')}${prefix}/realtime/v1/websocket?${query}`

  before(async () => {
    folder = makeFolder()
    node = await startMayfly(path.join(folder, 'data'))
    url = node.ready.url
    publishable = node.ready.project.publishableKey
    secret = node.ready.project.secretKey
  })
  after(async () => {
    for (const one of open) one.end()
    await node?.stop()
    removeFolder(folder)
  })

  it("'ws /realtime/v1/websocket': turns away who has no key of the project, in plain HTTP, and never asks a cookie", async () => {
    const wrong = `${secret.slice(0, -10)}${secret.at(-10) === 'x' ? 'y' : 'x'}${secret.slice(-9)}`
    assert.deepEqual([(await refusal(wsUrl('vsn=2.0.0'))).status, (await refusal(wsUrl(''))).body.error], [401, 'API key is missing'])
    assert.equal((await refusal(wsUrl(`apikey=${wrong}`))).status, 401)
    assert.equal((await refusal(wsUrl(''), { cookie: `apikey=${secret}` })).status, 401)
    assert.equal((await refusal(wsUrl(`apikey=${secret}`, '/p/nowhere'))).status, 404)
    assert.equal((await refusal(wsUrl(`apikey=${secret}`), { host: 'evil.example' })).status, 421)
    assert.ok((await refusal(wsUrl(`apikey=${wrong}`))).body.error)
  })
  it('lets in by query and by header, with any origin, and below /p/<ref>', async () => {
    for (const [at, headers] of [
      [wsUrl(`apikey=${publishable}`), { origin: 'https://elsewhere.example' }],
      [wsUrl('vsn=1.0.0'), { 'x-api-key': publishable }],
      [wsUrl('vsn=1.0.0'), { authorization: `Bearer ${secret}` }],
      [wsUrl(`apikey=${publishable}`, '/p/demo'), {}],
    ] as const)
      (await rawSocket(at, headers as Record<string, string>)).socket.terminate()
  })

  it('two clients of supabase-js hear each other: JSON, bytes, self, ack', async () => {
    const [anna, ben] = [clientOf(url, publishable), clientOf(url, publishable)]
    const heard: unknown[] = []
    const own: unknown[] = []
    const from = anna.channel('room', { config: { broadcast: { ack: true, self: true } } }).on('broadcast', { event: '*' }, ({ event }) => own.push(event))
    const to = ben.channel('room').on('broadcast', { event: '*' }, ({ event, payload }) => heard.push([event, payload]))
    await Promise.all([subscribed(from), subscribed(to)])
    assert.equal(await from.send({ type: 'broadcast', event: '한글 🚀', payload: { a: [1, null, 'é'] } }), 'ok')
    assert.equal(await from.send({ type: 'broadcast', event: 'bytes', payload: new Uint8Array([0, 1, 255]).buffer }), 'ok')
    await until(() => heard.length === 2 && own.length === 2, 'both broadcasts')
    assert.deepEqual(heard[0], ['한글 🚀', { a: [1, null, 'é'] }])
    assert.deepEqual(Buffer.from((heard[1] as [string, ArrayBuffer])[1]), Buffer.from([0, 1, 255]))
    // Who did not ask to hear itself does not.
    assert.equal(await to.send({ type: 'broadcast', event: 'back', payload: {} }), 'ok')
    await until(() => own.includes('back'), 'the answer')
    assert.equal(heard.length, 2)
  })
})
