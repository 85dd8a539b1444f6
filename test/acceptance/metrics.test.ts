import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

describe('GET /metrics', () => {
  let folder = ''
  let node: RunningMayfly
  before(async () => {
    folder = makeFolder()
    mkdirSync(path.join(folder, 'hello'))
    writeFileSync(path.join(folder, 'hello', 'index.ts'), 'export const handler = async () => ({ hello: 1 })\n')
    node = await startMayfly(path.join(folder, 'data'))
    assert.equal(mayfly(['deploy', path.join(folder, 'hello'), '--data', node.data]).code, 0)
  })
  after(async () => {
    const token = path.join(node.data, 'operator.token')
    await node.stop()
    assert.equal(existsSync(token), false, 'the token ends with the node')
    removeFolder(folder)
  })
  const ask = (key: string | null, at = '/metrics') => fetch(node.ready.url + at, key === null ? {} : { headers: { authorization: `Bearer ${key}` } })

  it('answers who holds the token file, and counts calls', async () => {
    const file = path.join(node.data, 'operator.token')
    assert.equal(statSync(file).mode & 0o777, 0o600)
    const token = readFileSync(file, 'utf8').trim()
    for (let n = 0; n < 3; n++) {
      const reply = await fetch(`${node.ready.project.url}/functions/v1/hello`, { headers: { apikey: node.ready.project.publishableKey } })
      assert.equal(await reply.text(), '{"hello":1}')
    }
    const response = await ask(token)
    assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
    const page = await response.text()
    const number = (sample: string) =>
      Number(
        page
          .split('\n')
          .find((line) => line.startsWith(`${sample} `))
          ?.slice(sample.length + 1),
      )
    assert.equal(number('mayfly_invocations_total{outcome="ok",cold="none"}') + number('mayfly_invocations_total{outcome="ok",cold="first-call"}'), 3)
    assert.equal(number('mayfly_invocation_duration_seconds_count'), 3)
    assert.ok(number('mayfly_journal_bytes{journal="meters"}') > 0)
    assert.ok(number('mayfly_postgresql_servers_running') >= 1)
    assert.ok(number('process_resident_memory_bytes') > 1e7)
    assert.ok(number('mayfly_event_loop_lag_seconds{quantile="0.5"}') < 1)
    assert.ok(number('mayfly_disk_free_bytes{place="the data directory"}') > 0)
  })
  it('answers nobody else, and not below a project', async () => {
    const { publishableKey, secretKey } = node.ready.project
    const rows: [string | null, string, number, string][] = [
      [null, '/metrics', 401, 'key_missing'],
      [publishableKey, '/metrics', 403, 'not_allowed'],
      [secretKey, '/metrics', 403, 'not_allowed'],
      ['mayfly_operator_wrong', '/metrics', 401, 'key_invalid'],
      [secretKey, '/p/demo/metrics', 404, 'not_found'],
    ]
    for (const [key, at, status, code] of rows) {
      const response = await ask(key, at)
      assert.deepEqual([response.status, ((await response.json()) as { code: string }).code], [status, code], `${at} with ${key}`)
    }
  })
})
