import assert from 'node:assert/strict'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { PoolFixture, silent, until } from './pool-fixture.ts'
import type { SandboxSpec } from './types.ts'

const CLIENT = `#!/usr/bin/python3
import http.client, json, os, socket, sys, time
def send(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, dict(response.getheaders()), response.read().decode()
def tell(what):
    host, port = os.environ['RELAY'].split('//')[1].split(':')
    with socket.create_connection((host, int(port))) as told: told.sendall((json.dumps(what) + '\\n').encode())
`
const EXTENSION = `${CLIENT}
name = os.path.basename(sys.argv[0])
if os.environ.get('CRASH') == 'init': sys.exit(3)
API = '/2020-01-01/extension'
tries = [send('POST', API + '/register', '{"events":["INVOKE"]}'), send('POST', API + '/register', '{', {'Lambda-Extension-Name': name}),
  send('POST', API + '/register', '{"events":["OTHER"]}', {'Lambda-Extension-Name': name}), send('GET', API + '/event/next')]
status, headers, about = send('POST', API + '/register', '{"events":["INVOKE","SHUTDOWN"]}', {'Lambda-Extension-Name': name, 'Lambda-Extension-Accept-Feature': 'accountId'})
me = {'Lambda-Extension-Identifier': headers['Lambda-Extension-Identifier']}
tries += [send('POST', API + '/register', '{}', {'Lambda-Extension-Name': name}), send('PUT', '/2022-07-01/telemetry', '{}', me), send('PUT', '/2020-08-15/logs', '{}', me)]
tell({'registered': json.loads(about), 'tries': [[one[0], json.loads(one[2])['errorType']] for one in tries]})
print('extension ready', flush=True)
while True:
    event = json.loads(send('GET', API + '/event/next', None, me)[2])
    tell(event)
    if event['eventType'] == 'SHUTDOWN': sys.exit(0)
    if os.environ.get('CRASH') == 'invoke': os._exit(4)
    time.sleep(0.2)
`
const BOOTSTRAP = `${CLIENT}
while True:
    status, headers, body = send('GET', '/2018-06-01/runtime/invocation/next')
    at = '/2018-06-01/runtime/invocation/' + headers['Lambda-Runtime-Aws-Request-Id']
    event = json.loads(body)
    if event == 'exit': os._exit(7)
    if event == 'sleep': time.sleep(60)
    if event == 'late': event = json.loads(send('POST', '/2020-01-01/extension/register', '{"events":[]}', {'Lambda-Extension-Name': 'inner'})[2])['errorType']
    send('POST', at + '/response', json.dumps(event))
`

const ARN = 'arn:aws:lambda:us-east-1:000000000000:function:own'
const noPython = existsSync('/usr/bin/python3') ? false : 'needs the package python3'

for (const name of ['process', 'runc'] as const) {
  const skip = noPython || (name === 'runc' && process.getuid?.() !== 0 ? 'needs root' : false)
  describe(`extensions by ${name}`, { timeout: 120_000, skip }, () => {
    let fixture: PoolFixture
    before(async () => {
      fixture = new PoolFixture(name, {})
      await fixture.openFirst()
      mkdirSync(path.join(fixture.data, 'opt', 'extensions'), { recursive: true })
      mkdirSync(path.join(fixture.data, 'code', 'own'), { recursive: true })
      writeFileSync(path.join(fixture.data, 'opt', 'extensions', 'watcher'), EXTENSION, { mode: 0o555 })
      writeFileSync(path.join(fixture.data, 'opt', 'extensions', 'not-executable'), 'x', { mode: 0o444 })
      writeFileSync(path.join(fixture.data, 'code', 'own', 'bootstrap'), BOOTSTRAP, { mode: 0o555 })
    })
    after(async () => await fixture[Symbol.asyncDispose]())

    interface Told {
      readonly eventType?: string
      readonly shutdownReason?: string
      readonly requestId?: string
      readonly invokedFunctionArn?: string
      readonly deadlineMs?: number
      readonly tracing?: unknown
      readonly registered?: unknown
      readonly tries?: unknown
    }
    const open = (key: string, changes: Partial<SandboxSpec> = {}) => {
      const told: Told[] = []
      const openRelay = (connection: Duplex) => {
        let text = ''
        connection.on('data', (chunk) => {
          text += chunk
        })
        connection.on('end', () => {
          told.push(JSON.parse(text) as Told)
          connection.end()
        })
      }
      const optDir = path.join(fixture.data, 'opt')
      const context = { functionName: 'own', functionVersion: '1', functionArn: ARN, memoryMb: 128, logGroup: 'g', logStream: 's' }
      const spec = fixture.specOf('own', { key, runtime: 'provided', context, optDir, openRelay, timeoutMs: 10_000, ...changes })
      return { told, spec: { ...spec, environment: { RELAY: '{relay}', PATH: '/usr/bin:/bin', ...changes.environment } } }
    }

    test('registers before the runtime starts, hears of invocations and of the end', async () => {
      const { told, spec } = open('watched')
      const first = await fixture.call(spec, 'x')
      assert.equal(first.value, 'x')
      assert.deepEqual(told[0], {
        registered: { functionName: 'own', functionVersion: '1', handler: 'index.handler', accountId: '000000000000' },
        tries: [
          [403, 'Extension.InvalidExtensionName'],
          [403, 'InvalidRequestFormat'],
          [403, 'Extension.InvalidEventType'],
          [403, 'Extension.MissingExtensionIdentifier'],
          [403, 'Extension.InvalidExtensionState'],
          [202, 'Telemetry.NotSupported'],
          [202, 'Logs.NotSupported'],
        ],
      })
      const { eventType, requestId, invokedFunctionArn, deadlineMs, tracing } = told[1] as Told
      assert.deepEqual([eventType, requestId, invokedFunctionArn, tracing], ['INVOKE', 'id-1', 'a', { type: 'X-Amzn-Trace-Id', value: 't' }])
      assert.ok((deadlineMs ?? 0) > Date.now())
      // The invocation is over when the extension asks for more, which takes it 200 ms.
      const from = performance.now()
      await fixture.call(spec, 'y')
      assert.ok(performance.now() - from >= 190)
      assert.equal((await fixture.call(spec, 'late')).value, 'Extension.RegistrationClosed')
      await until(() => fixture.stateOf(first.id) === 'frozen')
      fixture.pool.retire('watched')
      await until(() => told.some((one) => one.eventType === 'SHUTDOWN'))
      assert.equal(told.at(-1)?.shutdownReason, 'spindown')
      await until(() => fixture.stateOf(first.id) === undefined)
    })

    test('hears that the runtime failed, or took too long', async () => {
      const failing = open('failing')
      assert.match((await fixture.call(failing.spec, 'exit')).value.errorMessage, /exit status 7/)
      assert.equal(failing.told.at(-1)?.shutdownReason, 'failure')
      const slow = open('slow', { timeoutMs: 1_500 })
      assert.equal((await fixture.call(slow.spec, 'sleep')).value.errorType, 'Sandbox.Timedout')
      await until(() => slow.told.at(-1)?.shutdownReason === 'timeout')
    })

    test('are ten at most', async () => {
      const optDir = path.join(fixture.data, 'many')
      mkdirSync(path.join(optDir, 'extensions'), { recursive: true })
      for (let i = 0; i < 11; i++) writeFileSync(path.join(optDir, 'extensions', `e${i}`), '#!/bin/sh\nexec sleep 60\n', { mode: 0o555 })
      await assert.rejects(fixture.pool.acquire(open('many', { optDir }).spec, silent, new AbortController().signal), {
        errorType: 'Extension.TooManyExtensions',
        told: '11 extensions; the limit is 10',
      })
    })

    test('that ends by itself ends the invocation, or the load', async () => {
      const crashing = open('crashing', { environment: { CRASH: 'invoke' } })
      const { value } = await fixture.call(crashing.spec, 'sleep')
      assert.deepEqual([value.errorType, value.errorMessage], ['Extension.Crash', 'RequestId: id-1 Error: exit code 4'])
      const never = open('never', { environment: { CRASH: 'init' } })
      await assert.rejects(fixture.pool.acquire(never.spec, silent, new AbortController().signal), { errorType: 'Extension.Crash', told: 'exit code 3' })
    })
  })
}
