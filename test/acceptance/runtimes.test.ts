import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { before, describe, it } from 'node:test'
import { InvokeCommand, UpdateFunctionConfigurationCommand } from '@aws-sdk/client-lambda'
import { mayfly, zipOf } from './harness.ts'
import { noPython, runtimesNode } from './runtimes-fixture.ts'

const { at, deploy, invoke, bytesOf, read } = runtimesNode()

/** A bootstrap as people write them: it says of every answer of the API what its status was. */
const BOOTSTRAP = `#!/usr/bin/python3
import base64, http.client, json, os, socket, sys, time
print('starting', flush=True)
life = os.urandom(8).hex()
def send(method, path, body=None, headers={}, **more):
    connection = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])
    connection.request(method, '/2018-06-01' + path, body.encode() if isinstance(body, str) else body, headers, **more)
    response = connection.getresponse()
    return response.status, dict(response.getheaders()), response.read().decode()
if os.environ.get('INIT') == 'error':
    send('POST', '/runtime/init/error', '{"errorMessage":"no luck","errorType":"Own.Error","stackTrace":[]}', {'Lambda-Runtime-Function-Error-Type': 'Runtime.Own'})
    sys.exit(1)
if os.environ.get('INIT') == 'exit':
    sys.exit(127)
last = []
while True:
    status, headers, body = send('GET', '/runtime/invocation/next')
    event = json.loads(body)
    rid = headers['Lambda-Runtime-Aws-Request-Id']
    at = '/runtime/invocation/' + rid
    what = event.get('do') if isinstance(event, dict) else ''
    print('doing', what, 'in life', life, flush=True)
    if what == 'exit': os._exit(event['code'])
    if what == 'kill': os.kill(os.getpid(), event['signal'])
    if what == 'sleep': time.sleep(60)
    if what == 'memory': x = ['x' * 1024 * 1024 * n for n in range(1, 100)]
    if what == 'error':
        last = [send('POST', at + '/error', event['body'], {'Lambda-Runtime-Function-Error-Type': event.get('type', 'Runtime.Mine')})]
    elif what == 'states':
        wrong = send('POST', '/runtime/invocation/other/response', '1')
        first = send('POST', at + '/response', json.dumps({'last': last}))
        last = [wrong, first, send('POST', at + '/response', '2'), send('POST', at + '/error', '2'), send('POST', '/runtime/init/error', '2'), send('GET', '/ping'), send('GET', '/nothing')]
    elif what == 'again':
        again = send('GET', '/runtime/invocation/next')
        last = [send('POST', at + '/response', json.dumps({'same': again[1]['Lambda-Runtime-Aws-Request-Id'] == rid and again[2] == body}))]
    elif what == 'chunks':
        last = [send('POST', at + '/response', (part.encode() for part in ['{"a"', ':1}']), {'Transfer-Encoding': 'chunked', 'Trailer': 'Lambda-Runtime-Function-Error-Type'}, encode_chunked=True)]
    elif what == 'stream':
        host, port = os.environ['AWS_LAMBDA_RUNTIME_API'].split(':')
        raw = socket.create_connection((host, int(port)))
        head = ['POST /2018-06-01' + at + '/response HTTP/1.1', 'Host: x', 'Transfer-Encoding: chunked', 'Content-Type: ' + event['type']]
        head += ['Trailer: Lambda-Runtime-Function-Error-Type', 'Trailer: Lambda-Runtime-Function-Error-Body']
        if event.get('mode'): head.append('Lambda-Runtime-Function-Response-Mode: ' + event['mode'])
        raw.sendall(('\\r\\n'.join(head) + '\\r\\n\\r\\n').encode())
        for part in event['parts']:
            raw.sendall(('%x\\r\\n%s\\r\\n' % (len(part), part)).encode())
            time.sleep(event.get('ms', 0) / 1000)
        if event.get('cut'): raw.close(); continue
        trailers = ''
        if 'error' in event:
            trailers = 'Lambda-Runtime-Function-Error-Type: Runtime.Mine\\r\\nLambda-Runtime-Function-Error-Body: ' + base64.b64encode(event['error'].encode()).decode() + '\\r\\n'
        raw.sendall(('0\\r\\n' + trailers + '\\r\\n').encode())
        last = [raw.recv(65536).decode()]
        raw.close()
    elif what == 'large':
        last = [send('POST', at + '/response', json.dumps('x' * (event['bytes'] - 2)))]
    elif what == 'headers':
        send('POST', at + '/response', json.dumps({'headers': headers, 'env': dict(os.environ), 'cwd': os.getcwd(), 'left': int(headers['Lambda-Runtime-Deadline-Ms']) - time.time() * 1000}))
    elif what == 'late':
        last = [send('POST', at + '/response', '"early"')]
        time.sleep(event['ms'] / 1000)
        print('after the response', flush=True)
    elif what == 'device':
        open('/dev/stderr', 'w').write('by its path\\n')
        send('POST', at + '/response', 'null')
    elif what == 'odd':
        send('POST', at + '/response', 'no JSON at all')
    elif what == 'hostile':
        refused = []
        for attack in ['open("/proc/1/mem", "r+b").write(b"x")', 'open("/proc/1/fd/3", "wb")', 'os.kill(1, 9)', 'os.kill(1, 11)', 'os.ptrace']:
            try: eval(attack)
            except BaseException as error: refused.append(type(error).__name__)
        host, port = os.environ['AWS_LAMBDA_RUNTIME_API'].split(':')
        junk = [socket.create_connection((host, int(port))) for _ in range(200)]
        for n, one in enumerate(junk): one.sendall([b'\\0' * 100, b'GET / HTTP/9\\r\\n\\r\\n', b'POST /2018-06-01/runtime/init/error HTTP/1.1\\r\\nContent-Length: 99\\r\\n\\r\\n{', b'GET /2018-06-01/runtime/invocation/%ff/response HTTP/1.1\\r\\nA: ' + b'x' * 100000][n % 4])
        for one in junk: one.close()
        odd = [send(method, path, 'x' * 1000)[0] for method, path in [('GET', '/runtime/invocation/%ff/response'), ('POST', '/runtime/invocation//response'), ('POST', '/runtime/invocation/%zz/error'), ('PUT', '/runtime/invocation/next'), ('POST', '/ping'), ('DELETE', '/')]]
        nodes = {}
        for kind, mode in [('pipe', 0o010600), ('device', 0o020600), ('block', 0o060600), ('socket', 0o140600)]:
            try: os.mknod('/tmp/%s-%d' % (kind, time.time_ns()), mode, os.makedev(1, 3)); nodes[kind] = 'made'
            except OSError as error: nodes[kind] = error.errno
        send('POST', at + '/response', json.dumps({'refused': refused, 'odd': odd, 'nodes': nodes}))
    elif what == 'descriptors':
        send('POST', at + '/response', json.dumps({n: os.readlink('/proc/self/fd/' + n) for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n)}))
    else:
        send('POST', at + '/response', body)
`

describe('provided', { skip: noPython }, () => {
  before(async () => {
    await deploy('own', 'provided.al2023', { bootstrap: BOOTSTRAP }, { Environment: { Variables: { MINE: 'yes' } } })
  })

  it('runs the bootstrap of the code; events, results and logs go through the Runtime API', async () => {
    const first = await invoke('own', { a: ['größer → 東京'] })
    assert.deepEqual(first.value, { a: ['größer → 東京'] })
    assert.match(first.log, /doing/)
    assert.match(first.log, /Init Duration/)
    const { value, log } = await invoke('own', 'x'.repeat(1_000_000))
    assert.equal(value.length, 1_000_000)
    assert.doesNotMatch(log, /Init Duration/)
  })

  it('has the environment and the headers of Lambda', async () => {
    const ClientContext = Buffer.from('{"custom": {"k": "größer"}}').toString('base64')
    const { headers, env, cwd, left } = (await invoke('own', { do: 'headers' }, { ClientContext })).value
    assert.match(env.AWS_LAMBDA_RUNTIME_API, /^127\.0\.0\.1:\d+$/)
    assert.deepEqual([env._HANDLER, env.MINE, env.LAMBDA_TASK_ROOT, cwd], ['app.handler', 'yes', cwd, cwd])
    assert.deepEqual([env.AWS_LAMBDA_FUNCTION_NAME, env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE, env.AWS_EXECUTION_ENV], ['own', '128', undefined])
    assert.ok(left > 1000 && left <= 10_000, String(left))
    assert.match(headers['Lambda-Runtime-Invoked-Function-Arn'], /:function:own$/)
    assert.match(headers['Lambda-Runtime-Trace-Id'], /^Root=1-/)
    assert.equal(Buffer.from(headers['Lambda-Runtime-Client-Context'], 'latin1').toString(), '{"custom":{"k":"größer"}}')
    assert.equal(headers['Content-Type'], 'application/json')
    const bare = (await invoke('own', { do: 'headers' })).value.headers
    assert.equal('Lambda-Runtime-Client-Context' in bare, false)
    assert.ok(Object.values(bare).every((value) => value !== ''))
  })

  it('has of its host’s descriptors none, and answers with any bytes', async () => {
    const open = (await invoke('own', { do: 'descriptors' })).value as Record<string, string>
    assert.deepEqual(
      Object.entries(open)
        .filter(([n]) => Number(n) > 2)
        .filter(([, target]) => !target.startsWith('/proc/')),
      [],
    )
    const reply = await at.aws.send(new InvokeCommand({ FunctionName: 'own', Payload: Buffer.from('{"do":"odd"}') }))
    assert.equal(Buffer.from(reply.Payload ?? []).toString(), 'no JSON at all')
  })

  it('stays answerable whatever is sent to the API, and its supervisor cannot be ended from inside', async () => {
    for (let i = 0; i < 2; i++) {
      const { value, error } = await invoke('own', { do: 'hostile' })
      assert.equal(error, null)
      assert.deepEqual(value.odd, [404, 400, 400, 404, 405, 404])
      // Named pipes are the one thing that mknod makes: anything else is a call that the kernel does not have.
      assert.deepEqual(value.nodes, { pipe: 'made', device: 38, block: 38, socket: 38 })
    }
    assert.equal((await invoke('own', 'on')).value, 'on')
  })

  it('gets HTTP calls as events of a function URL', async () => {
    const { url, secretKey } = at.node.ready.project
    const reply = await fetch(`${url}/functions/v1/own/some/path?a=b`, { method: 'POST', headers: { apikey: secretKey }, body: 'text' })
    const event = (await reply.json()) as { version: string; rawPath: string; body: string }
    assert.deepEqual([reply.status, event.version, event.body], [200, '2.0', 'text'])
    assert.match(event.rawPath, /\/some\/path$/)
  })

  it('an error that it posts goes to the caller byte for byte, JSON or not', async () => {
    for (const body of ['{"errorMessage": "m",  "errorType": "T"}', '{"errorMessage":"without a type"}']) {
      const { text, error, log } = await invoke('own', { do: 'error', body })
      assert.deepEqual([text, error], [body, 'Unhandled'])
      assert.match(log, /Status: error/)
    }
    const reply = await at.aws.send(new InvokeCommand({ FunctionName: 'own', Payload: Buffer.from(JSON.stringify({ do: 'error', body: 'plain words' })) }))
    assert.equal(Buffer.from(reply.Payload ?? []).toString(), 'plain words')
    // Words that the host reads are no trap for it.
    for (const body of ['plain words', '{"errorType":"Runtime.ExitError","errorMessage":5}', '[]', ''])
      assert.equal((await bytesOf('own', { do: 'error', type: 'Runtime.ExitError', body })).text, body)
    assert.equal((await invoke('own', 'on')).value, 'on')
  })

  it('is told by the API’s own errors what it does wrong', async () => {
    await invoke('own', { do: 'states' })
    const [wrong, first, second, error, init, ping, nothing] = (await invoke('own', { do: 'states' })).value.last
    assert.deepEqual([wrong[0], JSON.parse(wrong[2])], [400, { errorMessage: 'Invalid request ID', errorType: 'InvalidRequestID' }])
    assert.deepEqual([first[0], JSON.parse(first[2])], [202, { status: 'OK' }])
    for (const [reply, to] of [
      [second, 'InvocationResponse'],
      [error, 'InvocationErrorResponse'],
      [init, 'InitError'],
    ]) {
      assert.equal(reply[0], 403)
      assert.deepEqual(JSON.parse(reply[2]), {
        errorMessage: `State transition from RuntimeResponseSentState to ${to} failed for runtime. Error: State transition is not allowed`,
        errorType: 'InvalidStateTransition',
      })
    }
    assert.deepEqual([ping[0], ping[2]], [200, 'pong'])
    assert.equal(nothing[0], 404)
  })

  it('gets the same invocation again when it asks again, answers in chunks, and is over only at the next one', async () => {
    assert.deepEqual((await invoke('own', { do: 'again' })).value, { same: true })
    assert.deepEqual((await invoke('own', { do: 'chunks' })).value, { a: 1 })
    const late = await invoke('own', { do: 'late', ms: 300 })
    assert.equal(late.value, 'early')
    assert.match(late.log, /after the response[\s\S]*REPORT/)
    assert.ok(Number(/\tDuration: (\d+)/.exec(late.log)?.[1]) >= 300)
    assert.match((await invoke('own', { do: 'device' })).log, /by its path/)
  })

  it('a response of 6 MB and 100 bytes passes; one byte more is refused with 413, and the caller is told', async () => {
    assert.equal((await invoke('own', { do: 'large', bytes: 6_291_556 })).text.length, 6_291_556)
    const { value, error } = await invoke('own', { do: 'large', bytes: 6_291_557 })
    assert.equal(error, 'Unhandled')
    assert.deepEqual(value, {
      errorType: 'Function.ResponseSizeTooLarge',
      errorMessage: 'Response payload size exceeded maximum allowed payload size (6291556 bytes).',
    })
    const [[status, , body]] = (await invoke('own', { do: 'states' })).value.last
    assert.equal(status, 413)
    assert.deepEqual(JSON.parse(body), { errorType: 'RequestEntityTooLarge', errorMessage: 'Exceeded maximum allowed payload size (6291556 bytes).' })
  })

  it('streams in the mode that says so, and where a client of Go’s form sends pieces', async () => {
    const parts = ['one ', 'two ', 'three']
    for (const mode of ['streaming', '']) {
      const { chunks, text, end } = await read('own', { do: 'stream', mode, type: 'text/plain', parts, ms: 150 })
      assert.deepEqual([text, end.ErrorCode], ['one two three', undefined])
      assert.ok(chunks.length >= 2 && (chunks.at(-1)?.at ?? 0) - (chunks[0]?.at ?? 0) > 150, 'it comes as it is made')
      // Who does not take a stream gets all of it at once.
      assert.equal((await bytesOf('own', { do: 'stream', mode, type: 'text/plain', parts })).text, 'one two three')
    }
    assert.match((await invoke('own', { do: 'states' })).value.last[0], /^HTTP\/1\.1 202 /)
    // JSON in pieces is one result.
    assert.deepEqual((await invoke('own', { do: 'stream', type: 'application/json', parts: ['{"a"', ':1}'] })).value, { a: 1 })
  })

  it('tells an error behind the body, by trailers, and a response that breaks off', async () => {
    const error = '{"errorMessage":"half-way","errorType":"Mine"}'
    const event = { do: 'stream', mode: 'streaming', type: 'text/plain', parts: ['some'] }
    const failed = await read('own', { ...event, error })
    assert.deepEqual([failed.text, failed.end.ErrorCode, failed.end.ErrorDetails], ['some', 'Unhandled', error])
    assert.deepEqual(await bytesOf('own', { ...event, error }), { text: error, error: 'Unhandled' })
    assert.deepEqual(await bytesOf('own', { do: 'stream', type: 'application/json', parts: ['"x"'], error }), { text: error, error: 'Unhandled' })
    const cut = await invoke('own', { do: 'stream', type: 'application/json', parts: ['"x"'], cut: true })
    assert.equal(cut.value.errorType, 'Runtime.TruncatedResponse')
    assert.match(String((await read('own', { ...event, cut: true })).end.ErrorDetails), /Runtime\.TruncatedResponse/)
    const mode = await invoke('own', { ...event, mode: 'backwards' })
    assert.equal(mode.value.errorType, 'Runtime.InvalidResponseModeHeader')
    assert.match((await invoke('own', { do: 'states' })).value.last[0], /^HTTP\/1\.1 400 [\s\S]*InvalidFunctionResponseMode/)
  })

  for (const [what, event, message, type] of [
    ['exits with 0', { do: 'exit', code: 0 }, 'Runtime exited without providing a reason', 'Runtime.ExitError'],
    ['exits with 7', { do: 'exit', code: 7 }, 'Runtime exited with error: exit status 7', 'Runtime.ExitError'],
    ['is killed', { do: 'kill', signal: 9 }, 'Runtime exited with error: signal: killed', 'Runtime.ExitError'],
    ['reads where nothing is', { do: 'kill', signal: 11 }, 'Runtime exited with error: signal: segmentation fault', 'Runtime.ExitError'],
    ['wants more memory than it has', { do: 'memory' }, 'Runtime exited with error: signal: killed', 'Runtime.ExitError'],
    ['takes too long', { do: 'sleep' }, 'Task timed out after 2.00 seconds', 'Sandbox.Timedout'],
  ] as const) {
    it(`a runtime that ${what} is that error, and the next call has another sandbox`, async () => {
      if (event.do === 'sleep') {
        await at.aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'own', Timeout: 2 }))
        await invoke('own', 1)
      }
      const { value, error, log } = await invoke('own', event)
      assert.equal(error, 'Unhandled')
      assert.equal(value.errorType, type)
      assert.match(value.errorMessage, /^RequestId: [0-9a-f-]{36} Error: /)
      assert.equal(value.errorMessage.replace(/^.*? Error: /, ''), message)
      const next = await invoke('own', 'again')
      assert.equal(next.value, 'again')
      // A new one, or another that was loaded ahead.
      const [before, now] = [log, next.log].map((lines) => /in life ([0-9a-f]+)/.exec(lines)?.[1])
      assert.ok(before !== undefined && now !== undefined && before !== now, `${before} and ${now}`)
    })
  }

  it('what keeps it from beginning is told to the first caller', async () => {
    await deploy('init-error', 'provided.al2023', { bootstrap: BOOTSTRAP }, { Environment: { Variables: { INIT: 'error' } } })
    assert.equal((await invoke('init-error', 1)).text, '{"errorMessage":"no luck","errorType":"Own.Error","stackTrace":[]}')
    await deploy('init-exit', 'provided.al2', { bootstrap: BOOTSTRAP }, { Environment: { Variables: { INIT: 'exit' } } })
    const exited = await invoke('init-exit', 1)
    assert.equal(exited.value.errorType, 'Runtime.ExitError')
    assert.match(exited.value.errorMessage, /^RequestId: \S+ Error: Runtime exited with error: exit status 127$/)
    await deploy('no-bootstrap', 'provided', { 'some.txt': 'x' })
    const none = await invoke('no-bootstrap', 1)
    assert.equal(none.value.errorType, 'Runtime.InvalidEntrypoint')
    assert.match(none.value.errorMessage, /^RequestId: \S+ Error: Couldn't find valid bootstrap\(s\): \[\/var\/task\/bootstrap \/opt\/bootstrap\]$/)
  })

  it('AWS_LAMBDA_EXEC_WRAPPER runs before it, with the bootstrap as its argument', async () => {
    const wrapper = `#!/bin/sh\necho "wrapping $*"\nWRAPPED=yes exec "$@"\n`
    const files = { bootstrap: BOOTSTRAP, wrap: wrapper }
    const ZipFile = await zipOf(files, ['bootstrap', 'wrap'])
    await deploy('wrapped', 'provided.al2023', files, {
      Code: { ZipFile },
      Environment: { Variables: { AWS_LAMBDA_EXEC_WRAPPER: '/var/task/wrap' } },
    })
    const { value, log } = await invoke('wrapped', { do: 'headers' })
    assert.equal(value.env.WRAPPED, 'yes')
    assert.match(log, /wrapping \/var\/task\/bootstrap/)
  })

  it('is deployed by mayfly.json and called by name', async () => {
    const place = path.join(at.folder, 'by-file')
    mkdirSync(place)
    writeFileSync(path.join(place, 'bootstrap'), BOOTSTRAP)
    const where = ['--data', at.node.data]
    assert.match(mayfly(['deploy', place, ...where]).stderr, /To run its bootstrap, say "runtime": "provided\.al2023" there\./)
    writeFileSync(path.join(place, 'mayfly.json'), JSON.stringify({ runtime: 'provided.al2023', memory: 128 }))
    const refused = mayfly(['deploy', place, ...where])
    assert.match(refused.stderr, /bootstrap must be executable: chmod \+x it\./)
    chmodSync(path.join(place, 'bootstrap'), 0o755)
    const made = mayfly(['deploy', place, ...where])
    assert.equal(made.code, 0, made.stderr)
    const asked = mayfly(['invoke', 'by-file', '--data', '{"n":1}', ...where])
    assert.deepEqual([asked.code, JSON.parse(asked.stdout)], [0, { n: 1 }], asked.stderr)
  })
})
