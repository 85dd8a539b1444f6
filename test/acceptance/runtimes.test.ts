import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import {
  CreateFunctionCommand,
  InvokeCommand,
  InvokeWithResponseStreamCommand,
  type InvokeWithResponseStreamCompleteEvent,
  type LambdaClient,
  UpdateFunctionConfigurationCommand,
  waitUntilFunctionActiveV2,
} from '@aws-sdk/client-lambda'
import { awsOf, makeFolder, mayfly, ROLE, type RunningMayfly, removeFolder, ROOT, startMayfly, zipOf } from './harness.ts'

const noPython = existsSync('/usr/bin/python3') ? false : 'needs the package python3'

let folder = ''
let node: RunningMayfly
let aws: LambdaClient
before(async () => {
  folder = makeFolder()
  node = await startMayfly(path.join(folder, 'data'))
  aws = awsOf(node.ready)
})
after(async () => {
  await node?.stop()
  if (folder) removeFolder(folder)
})

async function deploy(
  name: string,
  Runtime: string,
  files: Record<string, string | Buffer>,
  more: Partial<CreateFunctionCommand['input']> = {},
): Promise<void> {
  const ZipFile = await zipOf(files, ['bootstrap'])
  await aws.send(
    new CreateFunctionCommand({
      FunctionName: name,
      Runtime: Runtime as 'provided',
      Handler: 'app.handler',
      Role: ROLE,
      Timeout: 10,
      Code: { ZipFile },
      ...more,
    }),
  )
  await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 30 }, { FunctionName: name })
}

async function invoke(name: string, event: unknown, more: Partial<InvokeCommand['input']> = {}) {
  const reply = await aws.send(new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)), LogType: 'Tail', ...more }))
  const text = Buffer.from(reply.Payload ?? []).toString()
  const log = Buffer.from(reply.LogResult ?? '', 'base64').toString()
  return { text, value: text === '' ? null : JSON.parse(text), error: reply.FunctionError ?? null, log }
}

/** Also waits for the end of the call, as the log's last lines do. */
async function bytesOf(name: string, event: unknown) {
  const reply = await aws.send(new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)), LogType: 'Tail' }))
  return { text: Buffer.from(reply.Payload ?? []).toString(), error: reply.FunctionError ?? null }
}

/** All of a stream: each chunk with the time when it came, and how it ended. */
async function read(name: string, event: unknown) {
  const reply = await aws.send(new InvokeWithResponseStreamCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)) }))
  const chunks: { at: number; bytes: Uint8Array }[] = []
  let end: InvokeWithResponseStreamCompleteEvent = {}
  for await (const one of reply.EventStream ?? []) {
    if (one.PayloadChunk) chunks.push({ at: performance.now(), bytes: one.PayloadChunk.Payload ?? new Uint8Array() })
    if (one.InvokeComplete) end = one.InvokeComplete
  }
  return { chunks, end, text: Buffer.concat(chunks.map(({ bytes }) => bytes)).toString() }
}

/** A bootstrap as people write them: it says of every answer of the API what its status was. */
const BOOTSTRAP = `#!/usr/bin/python3
import base64, http.client, json, os, socket, sys, time
print('starting', flush=True)
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
    print('doing', what, flush=True)
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
    const reply = await aws.send(new InvokeCommand({ FunctionName: 'own', Payload: Buffer.from('{"do":"odd"}') }))
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
    const { url, secretKey } = node.ready.project
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
    const reply = await aws.send(new InvokeCommand({ FunctionName: 'own', Payload: Buffer.from(JSON.stringify({ do: 'error', body: 'plain words' })) }))
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
        await aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'own', Timeout: 2 }))
        await invoke('own', 1)
      }
      const { value, error } = await invoke('own', event)
      assert.equal(error, 'Unhandled')
      assert.equal(value.errorType, type)
      assert.match(value.errorMessage, /^RequestId: [0-9a-f-]{36} Error: /)
      assert.equal(value.errorMessage.replace(/^.*? Error: /, ''), message)
      const next = await invoke('own', 'again')
      assert.equal(next.value, 'again')
      assert.match(next.log, /starting[\s\S]*Cold Start/)
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
    const at = path.join(folder, 'by-file')
    mkdirSync(at)
    writeFileSync(path.join(at, 'bootstrap'), BOOTSTRAP)
    const where = ['--data', node.data]
    assert.match(mayfly(['deploy', at, ...where]).stderr, /To run its bootstrap, say "runtime": "provided\.al2023" there\./)
    writeFileSync(path.join(at, 'mayfly.json'), JSON.stringify({ runtime: 'provided.al2023', memory: 128 }))
    const refused = mayfly(['deploy', at, ...where])
    assert.match(refused.stderr, /bootstrap must be executable: chmod \+x it\./)
    chmodSync(path.join(at, 'bootstrap'), 0o755)
    const made = mayfly(['deploy', at, ...where])
    assert.equal(made.code, 0, made.stderr)
    const asked = mayfly(['invoke', 'by-file', '--data', '{"n":1}', ...where])
    assert.deepEqual([asked.code, JSON.parse(asked.stdout)], [0, { n: 1 }], asked.stderr)
  })
})

/** Says what it is asked for of what a handler gets and does. */
const HANDLER = `import decimal, json, logging, os, sys, time
from helper import shout
print('loading')
log = logging.getLogger()
log.setLevel(logging.INFO)
count = 0
def handler(event, context):
    global count
    count += 1
    what = event.get('do') if isinstance(event, dict) else None
    if what == 'context':
        client = context.client_context
        return {'name': context.function_name, 'version': context.function_version, 'arn': context.invoked_function_arn,
            'memory': context.memory_limit_in_mb, 'id': context.aws_request_id, 'left': context.get_remaining_time_in_millis(),
            'client': client and [client.custom, client.client.app_title], 'identity': context.identity.cognito_identity_id,
            'path': sys.path[:3], 'cwd': os.getcwd(), 'environment': os.environ.get('AWS_EXECUTION_ENV'), 'trace': os.environ['_X_AMZN_TRACE_ID'],
            'zone': time.tzname[0], 'fds': [n for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n) and os.readlink('/proc/self/fd/' + n).startswith('socket')]}
    if what == 'log':
        log.info('said %s', 'größer')
        log.debug('not said')
        print('printed')
        print('err', file=sys.stderr)
        context.log('logged\\n')
        return count
    if what == 'relay':
        import urllib.request
        asked = urllib.request.Request(os.environ['MAYFLY_URL'] + '/storage/v1/bucket', headers={'apikey': os.environ['MAYFLY_KEY']})
        return json.load(urllib.request.urlopen(asked))
    if what == 'raise': raise ValueError(shout('mine'))
    if what == 'decimal': return decimal.Decimal(1)
    if what == 'exit': sys.exit(event['code'])
    if what == 'seed': return sys.flags.hash_randomization, hash('x'), os.environ.get('PYTHONHASHSEED')
    if what == 'half': return '\\ud83d'
    return event
`

describe('python', { skip: noPython }, () => {
  const version = noPython ? '' : /\d+\.\d+/.exec(execFileSync('/usr/bin/python3', ['--version'], { encoding: 'utf8' }))?.[0]
  const files = {
    'app.py': HANDLER,
    'helper.py': 'def shout(text): return text.upper()\n',
    'pkg/__init__.py': '',
    'pkg/deep.py': 'def run(event, context): return "deep"\n',
  }
  const runtime = `python${version}`
  before(async () => await deploy('snake', runtime, files))

  it('runs a handler, keeps its module, and has the context of Lambda', async () => {
    assert.deepEqual((await invoke('snake', { a: ['größer → 東京'] })).value, { a: ['größer → 東京'] })
    const ClientContext = Buffer.from('{"custom":{"k":"größer"},"client":{"app_title":"t"}}').toString('base64')
    const told = (await invoke('snake', { do: 'context' }, { ClientContext })).value
    assert.match(told.id, /^[0-9a-f-]{36}$/)
    assert.match(told.arn, /:function:snake$/)
    assert.match(told.trace, /^Root=1-/)
    assert.ok(told.left > 1000 && told.left <= 10_000)
    const { name, memory, client, identity, environment, zone, fds } = told
    assert.deepEqual([name, memory, client, identity, environment, zone], ['snake', '128', [{ k: 'größer' }, 't'], null, `AWS_Lambda_${runtime}`, 'UTC'])
    assert.equal(fds.length, 1, 'the connection to the Runtime API is its only socket')
    assert.deepEqual(told.path, [told.cwd, `/opt/python/lib/${runtime}/site-packages`, '/opt/python'])
    assert.equal((await invoke('snake', { do: 'half' })).text, '"\\ud83d"')
    assert.deepEqual((await invoke('snake', { do: 'relay' })).value, [])
  })

  it('logs as on Lambda: printed lines as they are, logged ones with level, time and id', async () => {
    await invoke('snake', { do: 'log' })
    const { log, value } = await invoke('snake', { do: 'log' })
    assert.ok(value > 1)
    assert.match(log, /\n\[INFO\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t[0-9a-f-]{36}\tsaid größer\n/)
    assert.match(log, /\nprinted\n/)
    assert.match(log, /\nlogged\n/)
    assert.match(log, /\nerr\n/)
    assert.doesNotMatch(log, /not said/)
    await deploy('snake-json', runtime, files, { LoggingConfig: { LogFormat: 'JSON', ApplicationLogLevel: 'WARN' } })
    const lines = (await invoke('snake-json', { do: 'raise' })).log.split('\n').filter((line) => line.includes('ValueError'))
    const { log_level, errorType, errorMessage } = JSON.parse(lines[0] ?? 'null')
    assert.deepEqual([log_level, errorType, errorMessage], ['ERROR', 'ValueError', 'MINE'])
  })

  it('tells errors in Lambda’s words and goes on', async () => {
    const raised = await invoke('snake', { do: 'raise' })
    assert.equal(raised.error, 'Unhandled')
    assert.deepEqual(Object.keys(raised.value), ['errorMessage', 'errorType', 'requestId', 'stackTrace'])
    assert.deepEqual([raised.value.errorMessage, raised.value.errorType], ['MINE', 'ValueError'])
    assert.match(raised.value.stackTrace[0], /^ {2}File "\/var\/task\/app\.py", line \d+, in handler\n {4}if what == 'raise'/)
    assert.match(raised.log, /\[ERROR\] ValueError: MINE\rTraceback \(most recent call last\):\r\u00a0\u00a0File/)
    const { errorType, errorMessage } = (await invoke('snake', { do: 'decimal' })).value
    assert.deepEqual([errorType, errorMessage], ['Runtime.MarshalError', 'Unable to marshal response: Object of type Decimal is not JSON serializable'])
    assert.match((await invoke('snake', { do: 'exit', code: 3 })).value.errorMessage, /Error: Runtime exited with error: exit status 3$/)
    assert.equal((await invoke('snake', 'on')).value, 'on')
  })

  it('names what keeps the code from loading; a package is found by dots and by slashes', async () => {
    for (const [name, Handler, kind, message] of [
      ['no-module', 'other.handler', 'Runtime.ImportModuleError', "Unable to import module 'other': No module named 'other'"],
      ['no-handler', 'app.missing', 'Runtime.HandlerNotFound', "Handler 'missing' missing on module 'app'"],
    ] as const) {
      await deploy(name, runtime, files, { Handler })
      const { value } = await invoke(name, 1)
      assert.deepEqual([value.errorType, value.errorMessage, value.requestId], [kind, message, ''])
    }
    for (const [name, Handler] of [
      ['dots', 'pkg.deep.run'],
      ['slashes', 'pkg/deep.run'],
    ] as const) {
      await deploy(name, runtime, files, { Handler })
      assert.equal((await invoke(name, 1)).value, 'deep')
    }
  })

  it('starts anew where the environment says what a process takes at its start; a wrapper runs before it', async () => {
    await deploy('seeded', runtime, files, { Environment: { Variables: { PYTHONHASHSEED: '0' } } })
    const first = (await invoke('seeded', { do: 'seed' })).value
    assert.deepEqual([first[0], first[2]], [0, '0'])
    const wrapped = { ...files, wrap: '#!/bin/sh\necho "wrapping $1"\nexec "$@"\n' }
    await deploy('wrapped-snake', runtime, wrapped, {
      Code: { ZipFile: await zipOf(wrapped, ['wrap']) },
      Environment: { Variables: { AWS_LAMBDA_EXEC_WRAPPER: '/var/task/wrap' } },
    })
    const { log, value } = await invoke('wrapped-snake', 'through')
    assert.equal(value, 'through')
    assert.match(log, /wrapping \/usr\/bin\/python3/)
  })

  it('is deployed by mayfly.json, as its files are', async () => {
    const at = path.join(folder, 'snake-by-file')
    mkdirSync(path.join(at, '__pycache__'), { recursive: true })
    writeFileSync(path.join(at, 'mayfly.json'), JSON.stringify({ runtime, memory: 128, timeout: 5 }))
    writeFileSync(path.join(at, 'lambda_function.py'), 'import os\ndef lambda_handler(event, context): return sorted(os.listdir("."))\n')
    writeFileSync(path.join(at, 'data.txt'), 'x')
    writeFileSync(path.join(at, '__pycache__', 'x.pyc'), 'x')
    const where = ['--data', node.data]
    const made = mayfly(['deploy', at, ...where])
    assert.equal(made.code, 0, made.stderr)
    const asked = mayfly(['invoke', 'snake-by-file', ...where])
    assert.deepEqual(JSON.parse(asked.stdout), ['data.txt', 'lambda_function.py'])
  })

  it('another version, other languages, what is not installed and more calls at once are refused in words', async () => {
    const other = version === '3.13' ? '3.12' : '3.13'
    for (const [Runtime, message] of [
      [`python${other}`, new RegExp(`this node has ${runtime}, the python3 of its system, and not python${other}`)],
      ['nodejs18.x', /The runtime parameter of nodejs18\.x is no longer supported/],
      ['dotnet8', /Member must satisfy enum value set: \[nodejs22\.x/],
    ] as const) {
      await assert.rejects(deploy('refused', Runtime, files), { name: 'InvalidParameterValueException', message })
    }
    const at = path.join(folder, 'at-once')
    mkdirSync(at)
    writeFileSync(path.join(at, 'index.py'), 'def handler(event, context): return 1\n')
    writeFileSync(path.join(at, 'mayfly.json'), JSON.stringify({ runtime, concurrency: 5 }))
    const refused = mayfly(['deploy', at, '--data', node.data])
    assert.match(refused.stderr, /concurrency: a sandbox of python3\.\d+ takes one call at a time/)
  })
})

describe('further Nodes', () => {
  for (const major of [22, 26]) {
    const name = `nodejs${major}.x`
    const installed = existsSync(path.join(ROOT, 'tools', `node${major}`, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node'))
    const code = { 'app.mjs': 'export const handler = async (event) => [process.versions.node, process.env.AWS_EXECUTION_ENV, event]' }
    it(`${name} runs on a Node of its own`, { skip: installed ? false : `needs npm run setup -- --runtime ${name}` }, async () => {
      await deploy(name.replace('.', '-'), name, code)
      const { value, log } = await invoke(name.replace('.', '-'), 'x')
      assert.deepEqual([value[0].split('.')[0], value[1], value[2]], [String(major), `AWS_Lambda_${name}`, 'x'])
      assert.match(log, /Cold Start: first-call/)
      assert.equal((await invoke(name.replace('.', '-'), 'y')).value[2], 'y')
    })
    it(`${name} is refused where it is not installed, with the command that installs it`, { skip: installed ? 'it is installed' : false }, async () => {
      await assert.rejects(deploy('not-there', name, code), {
        name: 'InvalidParameterValueException',
        message: new RegExp(`run \`npm run setup -- --runtime ${name}\``),
      })
    })
  }
})
