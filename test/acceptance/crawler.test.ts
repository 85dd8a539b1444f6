import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, describe, it } from 'node:test'
import path from 'node:path'
import { createClient } from '@supabase/supabase-js'
import { EgressWorld, WORLD } from './egress-world.ts'
import { ROOT, type RunningMayfly } from './harness.ts'

const PORT = 8081
const SITE = `http://${WORLD.web}:${PORT}/docs/`
/** Of a private network, which no function reaches. */
const SHUT = `http://${WORLD.shut[0]}:${PORT}/`
/** Eight pages in a ring, with links that lead away, twice to the same, and to a page that fails; it tells when each was asked for. */
const SERVER = `
const asked = []
require('node:http').createServer((request, response) => {
  if (request.url === '/asked') return response.end(JSON.stringify(asked))
  asked.push({ url: request.url, at: Date.now() })
  if (request.url === '/docs/broken') return response.writeHead(503).end()
  const [, page = '0'] = /^\\/docs\\/(?:page(\\d))?$/.exec(request.url) ?? [null, null]
  if (page === null) return response.writeHead(404).end()
  const next = (Number(page) + 1) % 8
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
  response.end('<title>page ' + page + '</title><a href="page' + next + '">a</a><a class=x href="./page' + next + '#b">b</a><a href="/elsewhere">c</a>' +
    '<a href="http://${WORLD.other}/docs/">d</a>' + (page === '3' ? '<a href="broken">e</a><a href="gone">f</a>' : ''))
}).listen(${PORT}, '${WORLD.web}', () => console.log('open'))`

describe('examples/crawler', () => {
  let world: EgressWorld
  let node: RunningMayfly
  before(async () => {
    world = await EgressWorld.open('c')
    await once(world.spawn('internet', process.execPath, ['-e', SERVER]).stdout as NodeJS.ReadableStream, 'data')
    node = await world.node()
    world.mayfly(['deploy', path.join(ROOT, 'examples', 'crawler'), '--data', node.data])
  })
  after(async () => {
    await node?.stop()
    await world?.[Symbol.asyncDispose]()
  })

  it('fetches each page of a site once, at its rate, into rows; what always fails is a dead letter of its queue', async () => {
    const queues = (...args: string[]) => JSON.parse(world.mayfly(['queues', ...args, '--json', '--data', node.data])) as { queue: { visible: number } }
    // A page that fails comes again soon.
    queues('create', 'pages', '--visibility', '1s', '--dead-letter', 'pages-dead', '--max-receives', '2')
    const db = createClient(node.ready.url, node.ready.project.secretKey, { auth: { persistSession: false } })
    assert.equal((await db.from('sites').insert([{ start: SITE }, { start: SHUT }])).error, null)
    world.mayfly(['invoke', 'plan', '--data', node.data])
    const dead = () => queues('show', 'pages-dead').queue.visible
    const rows = async () => (await db.from('pages').select('url, status, title').order('url')).data ?? []
    for (const end = Date.now() + 80_000; ; await new Promise((resolve) => setTimeout(resolve, 500))) {
      const all = await rows()
      if (all.length === 12 && all.filter(({ status }) => status !== null).length === 10 && dead() === 2) break
      assert.ok(Date.now() < end, `${JSON.stringify(all)}; ${dead()} dead letters`)
    }
    const pages = await rows()
    assert.ok(pages.some(({ url, status }) => url === SHUT && status === null))
    assert.ok(world.mayfly(['logs', 'fetch', '-n', '200', '--data', node.data]).includes(`${SHUT}: connect ECONNREFUSED`), 'its log says which and why')
    const ours = pages.filter(({ url }) => String(url).startsWith(SITE))
    const told = Object.fromEntries(ours.map(({ url, status, title }) => [String(url).slice(SITE.length), [status, title]]))
    assert.deepEqual(told, {
      '': [200, 'page 0'],
      ...Object.fromEntries(Array.from({ length: 8 }, (_, n) => [`page${n}`, [200, `page ${n}`]])),
      broken: [null, null],
      gone: [404, null],
    })
    const asked = JSON.parse(world.run('internet', 'curl', ['-s', `http://${WORLD.web}:${PORT}/asked`])) as { url: string; at: number }[]
    const times = (url: string) => asked.filter((one) => one.url === url).length
    assert.deepEqual([times('/docs/page1'), times('/docs/broken'), times('/docs/gone'), times('/elsewhere')], [1, 2, 1, 0])
    assert.equal(asked.length, 12)
    // As runs begin: two in any second. What a request takes to come there moves it a little.
    const spread = (asked.at(-1)?.at ?? 0) - (asked[0]?.at ?? 0)
    assert.ok(spread > ((asked.length / 2 - 1) * 1000) / 2, `${asked.length} requests in ${spread} ms`)
  })
})
