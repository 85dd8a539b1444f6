import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { makeFolder, mayfly, ROOT, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'
import { pause, until } from './photos.ts'

const SECRET = `whsec_${Buffer.from('twenty-four bytes or more').toString('base64')}`
const ERRORS = 5

interface Alert {
  readonly requestContext: { readonly condition: string }
  readonly responsePayload: { readonly minute: string; readonly errors: number; readonly text: string }
}

describe('examples/log-watch', () => {
  const folder = makeFolder()
  const data = path.join(folder, 'data')
  const app = path.join(folder, 'log-watch')
  const alerts: Alert[] = []
  const forged: string[] = []
  const receiver = createServer(async (request, response) => {
    const body = String(Buffer.concat(await request.toArray()))
    try {
      alerts.push(new Webhook(SECRET).verify(body, request.headers as Record<string, string>) as Alert)
    } catch (error) {
      forged.push(String(error))
    }
    response.writeHead(204).end()
  })
  let node: RunningMayfly
  const cli = (...args: string[]) => {
    const { code, stdout, stderr } = mayfly([...args, '--data', data])
    assert.equal(code, 0, stderr)
    return stdout
  }
  before(async () => {
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
    const origin = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
    cpSync(path.join(ROOT, 'examples', 'log-watch'), app, { recursive: true })
    const alert = path.join(app, 'alert', 'mayfly.json')
    writeFileSync(alert, readFileSync(alert, 'utf8').replace('https://example.com', origin))
    node = await startMayfly(data, ['--empty', '--invoke-webhook-origins', origin])
    const api = path.join(folder, 'api')
    mkdirSync(api)
    writeFileSync(path.join(api, 'mayfly.json'), '{"name":"api"}')
    writeFileSync(
      path.join(api, 'index.mjs'),
      "export const handler = async ({ fails }) => { console.log('fine'); if (fails) throw new TypeError('no such order') }",
    )
    cli('secrets', 'set', `HOOK_SECRET=${SECRET}`)
    cli('deploy', app)
    cli('deploy', api)
  })
  after(async () => {
    await node?.stop()
    receiver.closeAllConnections()
    receiver.close()
    removeFolder(folder)
  })

  const call = async (fails: boolean) => {
    const { url, project } = node.ready
    await fetch(`${url}/api/v1/projects/demo/functions/api/invoke`, {
      method: 'POST',
      headers: { authorization: `Bearer ${project.secretKey}` },
      body: JSON.stringify({ fails }),
    })
  }
  const counted = async () => {
    const { url, project } = node.ready
    const headers = { apikey: project.secretKey, authorization: `Bearer ${project.secretKey}` }
    return ((await (await fetch(`${url}/rest/v1/log_errors?select=id,function`, { headers })).json()) as { id: string; function: string }[]).filter(
      (row) => row.function === 'api',
    )
  }

  it('tells a receiver once in a minute that there are too many errors, signed, and nothing while there are few', async () => {
    await call(false)
    for (let n = 1; n < ERRORS; n++) await call(true)
    const few = await until('its errors are counted', async () => (await counted()).length >= ERRORS - 1 && (await counted()))
    assert.equal(new Set(few.map(({ id }) => id)).size, ERRORS - 1, 'one row an error, and none of what went well')
    assert.equal(alerts.length, 0)
    // As many as it takes, however slow the machine: those of a minute ago do not count any more.
    for (const end = Date.now() + 60_000; alerts.length === 0 && Date.now() < end; await pause(200)) await call(true)
    const [alert] = alerts
    assert.ok(alert, 'the alert came')
    assert.equal(alert.requestContext.condition, 'Success')
    assert.ok(alert.responsePayload.errors >= ERRORS)
    assert.match(alert.responsePayload.text, /^\d+ errors within a minute; the last of api: .*no such order/s)
    await until('its errors are counted', async () => (await counted()).length > ERRORS)
    const minutes = alerts.map(({ responsePayload }) => responsePayload.minute)
    assert.equal(new Set(minutes).size, minutes.length, 'each minute has one')
    assert.deepEqual(forged, [])
    assert.deepEqual(JSON.parse(cli('dlq', 'ls', '--json')).deadLetters, [])
  })
})
