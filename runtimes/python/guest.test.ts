import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, it } from 'node:test'
import { SAYS } from '../conformance/frames.ts'
import { Guest } from '../conformance/guest.ts'
import { pythonRuntime } from './conformance.ts'

/** What only Python has, beside what every runtime passes in runtimes/conformance. */
describe('the Python runtime', { skip: pythonRuntime.absent ?? false, timeout: 60_000 }, () => {
  const load = async (body: string, environment: Record<string, string> = {}) => {
    const guest = await Guest.start(pythonRuntime)
    const text = `import os, subprocess, sys, threading, time\ncount = 0\ndef handler(event, context):\n    global count\n    count += 1\n${body.replace(/^/gm, '    ')}\n`
    await guest.load({ files: { 'index.py': text }, handler: 'index.handler' }, { environment: { PATH: '/usr/bin:/bin', ...environment } })
    return guest
  }
  it('has no module of its own where a function has one of the same name', async () => {
    await using guest = await Guest.start(pythonRuntime)
    const files = Object.fromEntries(['handlers', 'logs', 'frames', 'wire', 'guest', 'forking'].map((name) => [`${name}.py`, `own = '${name}'`]))
    const text =
      'import handlers, logs, frames, wire, guest, forking\ndef handler(event, context): return [one.own for one in (handlers, logs, frames, wire, guest, forking)]'
    await guest.load({ files: { ...files, 'index.py': text }, handler: 'index.handler' })
    assert.deepEqual(await guest.ask(null), ['handlers', 'logs', 'frames', 'wire', 'guest', 'forking'])
  })

  const FORKS = { _MAYFLY_FORKS: '1' }

  it('keeps what programs and descriptors are written to in its place among what is printed', async () => {
    await using guest =
      await load(`print('one')\nos.write(1, b'two\\n')\nsubprocess.run(['echo', 'three'])\nopen('/dev/stdout', 'w').write('four\\n')\nprint('five')
print('err', file=sys.stderr)\nsubprocess.run('echo more >&2', shell=True)\nsys.stdout.buffer.write(b'\\xff\\n')`)
    const call = await guest.done(guest.event(null))
    assert.equal(call.out, 'one\ntwo\nthree\nfour\nfive\n\ufffd\n')
    assert.equal(call.err, 'err\nmore\n')
  })

  it('takes what a program writes while nobody waits for it, however much, and none of it for the next call’s', async () => {
    await using guest = await load(`subprocess.run(['head', '-c', '300000', '/dev/zero'])\nreturn count`)
    for (let n = 1; n < 3; n++) {
      const call = await guest.done(guest.event(null))
      assert.deepEqual([call.logBytes, call.json], [300_000, n])
    }
  })

  it('lets a process that the code forks speak by its descriptors alone, and goes on beside it', async () => {
    await using guest = await load(`child = os.fork()
if child == 0:
    print('child', [n for n in ('3', '4') if os.path.exists('/proc/self/fd/' + n)])
    sys.exit(3)
return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])`)
    const call = await guest.done(guest.event(null))
    assert.deepEqual([call.out, call.json], ['child []\n', 3])
    assert.equal((await guest.done(guest.event(null))).json, 3)
  })

  it('counts what threads write beside a call, and leaves no frame torn', async () => {
    await using guest = await load(`def write():
    for n in range(300): print('x' * 99)
threads = [threading.Thread(target=write) for _ in range(4)]
for one in threads: one.start()
for n in range(300): sys.stderr.write('y' * 100)
for one in threads: one.join()
return 'z' * 1000000`)
    const call = await guest.done(guest.event(null))
    assert.deepEqual([call.out.length, call.err.length, call.text.length], [4 * 300 * 100, 30_000, 1_000_002])
  })

  it('has its end told however the code ends it: os._exit, an exit that another thread does not see, a signal’s handler', async () => {
    for (const [body, code] of [
      ['os._exit(7)', 7],
      ["sys.exit('words')", 1],
      ["import atexit\natexit.register(lambda: print('at exit'))\nsys.exit(0)", 0],
      ['raise KeyboardInterrupt', 1],
    ] as const) {
      await using guest = await load(body)
      const id = guest.event(null)
      const exit = await guest.last()
      assert.equal(exit.code, code, body)
      assert.equal(guest.said.at(-1)?.type, SAYS.exiting)
      assert.equal(guest.said.at(-1)?.payload.readUInt8(0), code)
      if (body.includes('words')) assert.equal(guest.stream(id).err, 'words\n')
      if (body.includes('atexit')) assert.equal(guest.stream(id).out, 'at exit\n')
    }
  })

  it('starts anew where the environment says what a process takes at its start', async () => {
    await using guest = await load(
      `print('here')\nreturn [sys.flags.hash_randomization, os.environ['PYTHONHASHSEED'], sorted(n for n in os.environ if 'MAYFLY' in n)]`,
      {
        PYTHONHASHSEED: '0',
      },
    )
    const call = await guest.done(guest.event(null))
    assert.deepEqual([call.json, call.out], [[0, '0', []], 'here\n'])
    assert.equal((await guest.done(guest.event(null))).out, 'here\n')
  })

  it('is started by the function’s wrapper, which may write, change the environment, fail, or not be there', async () => {
    const code = (wrapper: string) => ({
      files: { 'index.py': 'import os\ndef handler(event, context): return os.environ.get("ADDED")', wrap: wrapper },
      handler: 'index.handler',
    })
    const begin = async (wrapper: string, name = 'wrap') => {
      const guest = await Guest.start(pythonRuntime)
      guest.specialise(code(wrapper), { environment: { PATH: '/usr/bin:/bin', AWS_LAMBDA_EXEC_WRAPPER: path.join(guest.folder, 'code', name) } })
      return guest
    }
    await using wrapped = await begin('#!/bin/sh\necho "wrapping $1"\nhead -c 200000 /dev/zero >&2\nADDED=yes exec "$@"\n')
    await wrapped.hears(SAYS.loaded)
    assert.match(wrapped.own.out, /^wrapping \/usr\/bin\/python3/)
    assert.equal(wrapped.own.err.length, 200_000)
    assert.equal(await wrapped.ask(null), 'yes')
    await using failing = await begin('#!/bin/sh\necho no luck\nexit 9\n')
    assert.equal((await failing.last()).code, 9)
    assert.deepEqual([failing.said.at(-1)?.type, failing.said.at(-1)?.payload.readUInt8(0), failing.own.out], [SAYS.exiting, 9, 'no luck\n'])
    await using absent = await begin('', 'not-there')
    const error = JSON.parse((await absent.hears(SAYS.loadError)).payload.toString())
    assert.deepEqual([error.errorType, /no such file or directory$/.test(error.errorMessage)], ['Runtime.InvalidEntrypoint', true])
  })

  it('becomes a client of the supervisor where there are extensions', async () => {
    await using guest = await Guest.start(pythonRuntime)
    const extensions = path.join(guest.folder, 'opt', 'extensions')
    mkdirSync(extensions, { recursive: true })
    writeFileSync(path.join(extensions, 'probe'), EXTENSION)
    chmodSync(path.join(extensions, 'probe'), 0o755)
    const text = 'import os\ndef handler(event, context):\n    print("called")\n    return [event, "AWS_LAMBDA_RUNTIME_API" in os.environ]'
    await guest.load({ files: { 'index.py': text }, handler: 'index.handler' }, { environment: { PATH: '/usr/bin:/bin', A: '{relay}' } })
    assert.match(guest.own.out, /^registered http:\/\/127\.0\.0\.1:\d+\n/)
    const call = await guest.done(guest.event({ a: 1 }))
    assert.deepEqual(call.json, [{ a: 1 }, true])
    assert.match(call.out, /called\n/)
  })

  it('forks for each call: nothing of one is there for the next, large answers come whole, and ends are told', async () => {
    const body = `what = event.get('do')
if what == 'big': return 'x' * 3000000
if what == 'raise': raise ValueError('mine')
if what == 'exit': os._exit(3)
if what == 'kill': os.kill(os.getpid(), 9)
if what == 'hold':
    if os.fork() == 0: time.sleep(60)
print('in', count)
return [count, os.getppid()]`
    await using guest = await load(body, FORKS)
    const first = await guest.done(guest.event({}))
    const [, maker] = first.json as [number, number]
    assert.deepEqual([first.json, first.out], [[1, maker], 'in 1\n'])
    assert.notEqual(maker, guest.child.pid, 'who forks it is not who speaks for it')
    assert.equal((await guest.done(guest.event({ do: 'big' }))).text.length, 3_000_002)
    assert.equal((await guest.done(guest.event({ do: 'raise' }))).error.errorType, 'ValueError')
    for (const [what, words] of [
      ['exit', 'exit status 3'],
      ['kill', 'signal: killed'],
    ]) {
      const call = await guest.done(guest.event({ do: what }))
      assert.equal(call.error.errorMessage, `RequestId: id-${guest.calls.size} Error: Runtime exited with error: ${words}`)
      assert.match(call.out, /Runtime\.ExitError/)
    }
    assert.deepEqual((await guest.done(guest.event({ do: 'hold' }))).json, [1, maker])
    assert.deepEqual((await guest.done(guest.event({}))).json, [1, maker])
  })
})

const EXTENSION = `#!/usr/bin/python3
import http.client, json, os
def send(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])
    connection.request(method, '/2020-01-01/extension' + path, body, headers)
    response = connection.getresponse()
    return dict(response.getheaders()), response.read()
headers, _ = send('POST', '/register', '{"events":["INVOKE"]}', {'Lambda-Extension-Name': 'probe'})
print('registered', os.environ['A'], flush=True)
while True: send('GET', '/event/next', None, {'Lambda-Extension-Identifier': headers['Lambda-Extension-Identifier']})
`
