import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
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

describe('reuse: fork, of Python', { skip: noPython }, () => {
  const { at, invoke } = runtimesNode()
  const version = noPython ? '' : /\d+\.\d+/.exec(execFileSync('/usr/bin/python3', ['--version'], { encoding: 'utf8' }))?.[0]
  const put = (name: string, settings: object) => {
    const place = path.join(at.folder, name)
    mkdirSync(place, { recursive: true })
    writeFileSync(
      path.join(place, 'mayfly.json'),
      JSON.stringify({ runtime: `python${version}`, handler: 'app.handler', memory: 128, timeout: 2, ...settings }),
    )
    for (const [file, text] of [
      ['app.py', HANDLER],
      ['index.mjs', ''],
    ] as const)
      writeFileSync(path.join(place, file), text)
    return mayfly(['deploy', place, '--data', at.node.data])
  }
  before(() => {
    const made = put('forked', { reuse: 'fork' })
    assert.equal(made.code, 0, made.stderr)
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

  it('is refused, in words, for what cannot fork', () => {
    const refused = put('not-snake', { reuse: 'fork', runtime: 'nodejs24.x', handler: 'index.handler' })
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /reuse: `fork` is for functions of python runtimes/)
  })
})
