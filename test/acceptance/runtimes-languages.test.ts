import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { before, describe, it } from 'node:test'
import { mayfly, ROOT, zipOf } from './harness.ts'
import { noPython, runtimesNode } from './runtimes-fixture.ts'

const { at, deploy, invoke } = runtimesNode()

/** Says what it is asked for of what a handler gets and does. */
const HANDLER = `import decimal, json, logging, os, sys, time
from helper import shout
print('loading')
log = logging.getLogger()
log.setLevel(logging.INFO)
count = 0
def listens(n):
    import socket
    with socket.socket(fileno=os.dup(n)) as one: return one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 0
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
            'zone': time.tzname[0], 'fds': sorted(n for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n) and os.readlink('/proc/self/fd/' + n).startswith('socket') and not listens(int(n)))}
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
    assert.deepEqual([fds.slice(0, 2), fds.length], [['3', '4'], 3], 'beside where the relay listens: its two descriptors, and where its last words go')
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
    const place = path.join(at.folder, 'snake-by-file')
    mkdirSync(path.join(place, '__pycache__'), { recursive: true })
    writeFileSync(path.join(place, 'mayfly.json'), JSON.stringify({ runtime, memory: 128, timeout: 5 }))
    writeFileSync(path.join(place, 'lambda_function.py'), 'import os\ndef lambda_handler(event, context): return sorted(os.listdir("."))\n')
    writeFileSync(path.join(place, 'data.txt'), 'x')
    writeFileSync(path.join(place, '__pycache__', 'x.pyc'), 'x')
    const where = ['--data', at.node.data]
    const made = mayfly(['deploy', place, ...where])
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
    const place = path.join(at.folder, 'at-once')
    mkdirSync(place)
    writeFileSync(path.join(place, 'index.py'), 'def handler(event, context): return 1\n')
    writeFileSync(path.join(place, 'mayfly.json'), JSON.stringify({ runtime, concurrency: 5 }))
    const refused = mayfly(['deploy', place, '--data', at.node.data])
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
