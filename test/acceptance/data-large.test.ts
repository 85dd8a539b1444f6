import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import { ownerOf, serviceOf } from './data-fixture.ts'
import { makeFolder, removeFolder, type RunningMayfly, startMayfly, NO_SPARE } from './harness.ts'

const MiB = 1024 * 1024
const ROWS = 200

describe('large answers of the data API', () => {
  const folder = makeFolder()
  let node: RunningMayfly
  let owner: pg.Client

  before(async () => {
    node = await startMayfly(path.join(folder, 'data'), ['--empty', ...NO_SPARE])
    owner = await ownerOf(node.data, node.ready.project.ref)
    await owner.query(`
      create table long (id int primary key, body text);
      insert into long select n, repeat('m', ${MiB}) from generate_series(1, ${ROWS}) as n;
      create view broken as select id, 1 / case when id = 150 and exists (select from pg_cursors where name = 'mayfly_answer') then 0 else 1 end as part, body from long`)
    const service = serviceOf(node.ready)
    for (;;) if ((await service.from('broken').select('id').limit(0)).error === null) break
  })
  after(async () => {
    await owner?.end()
    await node?.stop()
    removeFolder(folder)
  })

  const ask = async (query: string): Promise<http.IncomingMessage> => {
    const { project } = node.ready
    const request = http.get(`${project.url}/rest/v1/${query}`, { headers: { apikey: project.secretKey, prefer: 'count=exact' } })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    return response
  }
  const rssMb = () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${node.pid()}/status`, 'utf8'))?.[1]) / 1024
  const inTransaction = async () =>
    (await owner.query(`select count(distinct pid)::int as n from pg_locks where locktype = 'relation' and relation = 'long'::regclass`)).rows[0].n as number
  const untilFree = async () => {
    while ((await inTransaction()) > 0) await delay(20)
  }

  it('leave in parts: 200 MiB are told whole, with their count before the first byte, and the node holds little of them', async () => {
    const before = rssMb()
    let most = before
    const response = await ask('long?order=id')
    assert.deepEqual([response.statusCode, response.headers['content-range']], [200, `0-${ROWS - 1}/${ROWS}`])
    const found = createHash('sha256')
    let bytes = 0
    let seen = 0
    for await (const chunk of response as AsyncIterable<Buffer>) {
      found.update(chunk)
      bytes += chunk.length
      if (++seen % 200 === 0) most = Math.max(most, rssMb())
    }
    const wanted = createHash('sha256')
    const body = 'm'.repeat(MiB)
    for (let id = 1; id <= ROWS; id++) wanted.update(`${id === 1 ? '[' : ', \n '}{"id":${id},"body":"${body}"}`)
    assert.equal(found.digest('hex'), wanted.update(']').digest('hex'))
    assert.ok(bytes > 200 * MiB)
    // What is young takes the engine some tens of MB whatever is read; who holds an answer holds it as text and as bytes.
    assert.ok(most - before < (3 / 4) * ROWS, `the node grew by ${most - before} MB`)
  })
  it('cut the connection where the database breaks them off', async () => {
    const response = await ask('broken?order=id')
    assert.equal(response.statusCode, 200)
    await assert.rejects(response.toArray(), { code: 'ECONNRESET' })
    await untilFree()
  })
  it('end in the database when their client leaves', async () => {
    const response = await ask('long?order=id')
    await once(response, 'readable')
    assert.equal(await inTransaction(), 1)
    response.destroy()
    await untilFree()
  })
})
