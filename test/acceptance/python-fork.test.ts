import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { before, describe, it } from 'node:test'
import { mayfly } from './harness.ts'
import { noPython, runtimesNode } from './runtimes-fixture.ts'

const HANDLER = `import os, shutil, signal, subprocess, sys, time
loaded_by = os.getpid()
open('/tmp/of-loading', 'w').close()
count = 0
def handler(event, context):
    global count
    count += 1
    what = event.get('do')
    if what == 'who':
        others = [n for n in os.listdir('/proc') if n.isdigit() and open('/proc/' + n + '/cmdline').read().startswith('sleep')]
        return {'count': count, 'own': os.getpid() != loaded_by, 'loader': loaded_by, 'tmp': sorted(os.listdir('/tmp')), 'sleepers': len(others),
            'environment': sorted(n for n in os.environ if n.startswith('_MAYFLY'))}
    if what == 'litter':
        os.makedirs('/tmp/deep/er')
        open('/tmp/deep/er/file', 'w').close()
        os.chmod('/tmp/deep', 0)
        os.symlink('/etc', '/tmp/link')
        for setsid in (False, True):
            subprocess.Popen(['sleep', '600'], start_new_session=setsid, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if os.fork() == 0:
            subprocess.Popen(['sleep', '600'], start_new_session=True)
            os._exit(0)
        return 'littered'
    if what == 'raise': raise ValueError('mine')
    if what == 'exit': sys.exit(event['code'])
    if what == 'leave': os._exit(0)
    if what == 'kill': os.kill(os.getpid(), signal.SIGKILL)
    if what == 'parent': os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)
    if what == 'sleep': time.sleep(60)
    if what == 'log': print('printed by', count)
    return event
`

/** What a call tries that has been taken over: to learn of the calls before it, and to have the next one run otherwise. */
const HOSTILE = `import ctypes, os, re, resource
os.makedirs('/tmp/loaded/deep')
open('/tmp/loaded/deep/file', 'w').close()
state = bytearray(b'as it was loaded')
loaded = os.urandom(8).hex()
libc = ctypes.CDLL(None, use_errno=True)
def memory(pid, mode):
    with open('/proc/%s/maps' % pid) as maps:
        places = [[int(end, 16) for end in line.split()[0].split('-')] for line in maps if ' rw' in line]
    return open('/proc/%s/mem' % pid, mode, 0), places
def found(pid, pattern):
    file, places = memory(pid, 'rb')
    for start, end in places:
        try:
            file.seek(start)
            text = file.read(end - start)
        except OSError: continue
        yield from ((start + one.start(), one.group().decode()) for one in re.finditer(pattern, text))
def others(): return [int(n) for n in os.listdir('/proc') if n.isdigit() and int(n) not in (1, os.getpid())]
def each(act):
    told = []
    for pid in others():
        try: told.append(str(act(pid)))
        except OSError as error: told.append(type(error).__name__)
    return told
def poison(pid):
    with open('/proc/%d/mem' % pid, 'r+b', 0) as file:
        for start, _ in found(pid, rb'as it was loaded'):
            file.seek(start)
            file.write(b'poisoned')
    return 'written'
def bounded(pid): return resource.prlimit(pid, resource.RLIMIT_NOFILE, (16, 16))
def handler(event, context):
    what = event['do']
    if what == 'look':
        return {'loaded': loaded, 'state': state.decode(), 'tmp': [name for _, _, names in os.walk('/tmp') for name in names], 'shm': os.listdir('/dev/shm'), 'segments': libc.shmget(77, 0, 0),
            'files': resource.getrlimit(resource.RLIMIT_NOFILE)[0], 'blocks': os.get_blocking(1), 'cpus': len(os.sched_getaffinity(0))}
    if what == 'keep': return event['text'].upper()
    if what == 'search': return sorted({text for _, text in found('self', rb'(secret|SECRET)-[0-9a-fA-F]{16}')})
    if what == 'poison': return each(poison)
    if what == 'descriptors': return each(lambda pid: os.listdir('/proc/%d/fd' % pid))
    if what == 'environment': return each(lambda pid: open('/proc/%d/environ' % pid, 'rb').read())
    if what == 'shm': open('/dev/shm/left', 'w').close(); os.makedirs('/dev/shm/deep/er'); open('/tmp/loaded/deep/more', 'w').close(); os.set_blocking(1, False)
    if what in ('stack', 'code'):
        with open('/proc/1/maps') as maps: lines = [line.split() for line in maps]
        start, end = [[int(end, 16) for end in line[0].split('-')] for line in lines if (line[-1] == '[stack]' if what == 'stack' else line[1].startswith('r-x'))][0]
        with open('/proc/1/mem', 'r+b', 0) as file:
            place = end - 64 if what == 'stack' else start + 64
            file.seek(place)
            first = file.read(8)
            file.seek(place)
            return file.write(bytes(255 - one for one in first) if what == 'stack' else first)
    if what == 'segment': return libc.shmget(77, 4096, 0o1666)
    if what == 'limits': return each(bounded)
    if what == 'nice': return each(lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19))
    if what == 'processors': return each(lambda pid: os.sched_setaffinity(pid, {min(os.sched_getaffinity(0))}))
    if what == 'loaded': open('/tmp/loaded/deep/file', 'w').write('changed')
    return 'done'
`

describe('reuse: fork, of Python', { skip: noPython }, () => {
  const { at, invoke } = runtimesNode()
  const version = noPython ? '' : /\d+\.\d+/.exec(execFileSync('/usr/bin/python3', ['--version'], { encoding: 'utf8' }))?.[0]
  const put = (name: string, settings: object, handler = HANDLER) => {
    const place = path.join(at.folder, name)
    mkdirSync(place, { recursive: true })
    writeFileSync(
      path.join(place, 'mayfly.json'),
      JSON.stringify({ runtime: `python${version}`, handler: 'app.handler', memory: 128, timeout: 2, ...settings }),
    )
    for (const [file, text] of [
      ['app.py', handler],
      ['index.mjs', ''],
    ] as const)
      writeFileSync(path.join(place, file), text)
    return mayfly(['deploy', place, '--data', at.node.data])
  }
  before(() => {
    const made = put('forked', { reuse: 'fork' })
    assert.equal(made.code, 0, made.stderr)
    const hostile = put('hostile', { reuse: 'fork', timeout: 20 }, HOSTILE)
    assert.equal(hostile.code, 0, hostile.stderr)
  })

  it('gives each call a process of its own with what was loaded, and what loading left in /tmp', async () => {
    const first = (await invoke('forked', { do: 'who' })).value
    const second = (await invoke('forked', { do: 'who' })).value
    assert.deepEqual(first, { count: 1, own: true, loader: first.loader, tmp: ['of-loading'], sleepers: 0, environment: [] })
    assert.deepEqual(second, first, 'the same loader, and nothing of the call before')
    assert.match((await invoke('forked', { do: 'log' })).log, /\nprinted by 1\n/)
  })

  it('ends what a call leaves behind, in whatever session, and empties /tmp', async () => {
    assert.equal((await invoke('forked', { do: 'litter' })).value, 'littered')
    const { tmp, sleepers } = (await invoke('forked', { do: 'who' })).value
    assert.deepEqual([tmp, sleepers], [['of-loading'], 0])
  })

  it('tells errors and ends in Lambda’s words, and the sandbox takes the next call', async () => {
    const { loader } = (await invoke('forked', { do: 'who' })).value
    const raised = await invoke('forked', { do: 'raise' })
    assert.deepEqual([raised.error, raised.value.errorType, raised.value.errorMessage], ['Unhandled', 'ValueError', 'mine'])
    for (const [event, words] of [
      [{ do: 'exit', code: 3 }, 'Runtime exited with error: exit status 3'],
      [{ do: 'leave' }, 'Runtime exited without providing a reason'],
      [{ do: 'kill' }, 'Runtime exited with error: signal: killed'],
    ] as const) {
      const { error, value, log } = await invoke('forked', event)
      assert.deepEqual([error, value.errorType], ['Unhandled', 'Runtime.ExitError'])
      assert.match(value.errorMessage, new RegExp(`^RequestId: [0-9a-f-]{36} Error: ${words}$`))
      assert.match(log, /Runtime\.ExitError/)
    }
    assert.equal((await invoke('forked', { do: 'who' })).value.loader, loader)
  })

  it('a call that ends its loader, or takes too long, takes the sandbox with it and nothing more', async () => {
    assert.equal((await invoke('forked', { do: 'parent' })).value.errorType, 'Runtime.ExitError')
    assert.equal((await invoke('forked', { do: 'who' })).value.count, 1)
    assert.match((await invoke('forked', { do: 'sleep' })).value.errorMessage, /Task timed out after 2\.00 seconds/)
    assert.equal((await invoke('forked', { do: 'who' })).value.count, 1)
  })

  it('a call has nothing of the calls before it in its memory, and of the processes that stay it reads and writes nothing', async () => {
    const { loaded: _, ...before } = (await invoke('hostile', { do: 'look' })).value
    const secret = randomBytes(8).toString('hex')
    for (let n = 0; n < 3; n++) assert.equal((await invoke('hostile', { do: 'keep', text: `secret-${secret}` })).value, `SECRET-${secret.toUpperCase()}`)
    assert.deepEqual((await invoke('hostile', { do: 'search' })).value, [])
    // That it finds what is there.
    assert.deepEqual((await invoke('hostile', { do: 'search', mine: 'secret-0123456789abcdef' })).value, ['secret-0123456789abcdef'])
    for (const what of ['poison', 'descriptors', 'environment']) {
      const { value, log } = await invoke('hostile', { do: what })
      assert.doesNotMatch(log, /no other runs here/, what)
      assert.ok(value.length >= 2 && value.every((one: string) => one === 'PermissionError'), `${what}: ${value}`)
    }
    // Another sandbox may have taken its place where the machine is short of memory.
    const { loaded: __, ...after } = (await invoke('hostile', { do: 'look' })).value
    assert.deepEqual(after, before)
  })

  it('what a call leaves in shared memory, on its outputs and in folders that are there from loading is gone', async () => {
    const before = (await invoke('hostile', { do: 'look' })).value
    assert.deepEqual([before.tmp, before.shm, before.blocks], [['file'], [], true])
    assert.equal((await invoke('hostile', { do: 'shm' })).value, 'done')
    assert.deepEqual((await invoke('hostile', { do: 'look' })).value, before)
  })

  // With one processor there is no other to be moved to.
  for (const what of ['stack', 'code', 'segment', 'limits', 'nice', ...(availableParallelism() > 1 ? ['processors'] : []), 'loaded']) {
    it(`a call that changes what cannot be made as it was is the last of its sandbox: ${what}`, async () => {
      const before = (await invoke('hostile', { do: 'look' })).value
      const { value, log } = await invoke('hostile', { do: what })
      assert.notEqual(value.errorType, 'OSError', JSON.stringify(value))
      assert.match(log, /the call changed .*: no other runs here/)
      const { loaded, ...after } = (await invoke('hostile', { do: 'look' })).value
      assert.notEqual(loaded, before.loaded)
      assert.deepEqual({ loaded: before.loaded, ...after }, before)
    })
  }

  it('is refused, in words, for what cannot fork', () => {
    const refused = put('not-snake', { reuse: 'fork', runtime: 'nodejs24.x', handler: 'index.handler' })
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /reuse: `fork` is for functions of python runtimes/)
  })
})
