import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { getPriority, tmpdir } from 'node:os'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { Descriptor, Launched } from './launched.ts'
import { Launcher } from './launcher.ts'
import { placed } from './launch-wire.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-launcher-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const env = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', SAID: 'yes' }
const five: readonly Descriptor[] = ['nothing', 'nothing', 'stream', 'stream', 'stream']
const close = ({ streams }: Launched) => {
  for (const stream of streams) stream?.destroy()
}
const streamOf = ({ streams }: Launched, at: number) => streams[at] as Duplex

for (const [how, byItself] of [
  ['by itself', 1_000],
  ['by a helper', 0],
] as const) {
  describe(`a launcher, ${how}`, () => {
    const launcher = new Launcher({ folder: path.join(folder, String(byItself)), byItself })
    before(() => (byItself === 0 ? launcher.begin() : undefined))
    after(() => launcher[Symbol.dispose]())
    const launch = (script: string, descriptors = five, nice: number | null = null) =>
      launcher.launch({ command: ['sh', '-c', script, 'sh', 'a "b"\nc'], env, descriptors, nice })

    test('gives a program its descriptors, arguments and environment, and nothing of its own', async () => {
      const one = await launch('cat <&3 >&4; printf %s "$1 $SAID $(pwd) $(env | grep -c .) $(wc -c <&0)" >&3; echo told >&2; exit 7')
      streamOf(one, 4).end()
      streamOf(one, 3).end('to the program')
      const [three, four, said] = await Promise.all([3, 4, 2].map((at) => text(streamOf(one, at))))
      assert.deepEqual([three, four, said], ['a "b"\nc yes / 3 0', 'to the program', 'told\n'])
      assert.deepEqual(await one.exited, { code: 7, signal: null })
      assert.deepEqual(one.ended, { code: 7, signal: null })
      assert.deepEqual([one.streams.length, one.streams[0], one.streams[1]], [5, null, null])
    })

    test('has streams that wait, as a shell takes them for granted', async () => {
      const one = await launch('read -r said <&3 && echo "$said" >&3')
      await pause(50)
      streamOf(one, 3).write('late\n')
      assert.equal(await text(streamOf(one, 3)), 'late\n')
      assert.equal((await one.exited).code, 0)
    })

    test('opens files for it, and puts streams above them', async () => {
      const file = path.join(folder, 'read')
      writeFileSync(file, 'in the file')
      const one = await launch('cat <&5 >&6', [...five, { file }, 'stream'])
      assert.equal(await text(streamOf(one, 6)), 'in the file')
      await one.exited
    })

    test('has it in a session of its own, behind this process', async () => {
      const one = await launch('sleep 0.1; cut -d" " -f1,6 /proc/self/stat >&3; exec sleep 60', five, 5)
      const [chunk] = (await once(streamOf(one, 3), 'data')) as [Buffer]
      const [, session = ''] = chunk.toString().split(/\s/)
      assert.equal(getPriority(Number(session)), Math.min(19, getPriority() + 5))
      one.kill('SIGTERM')
      assert.deepEqual(await one.exited, { code: null, signal: 'SIGTERM' })
    })

    test('tells of a file that is not there, and of a program', async () => {
      await assert.rejects(launch('exit 0', [...five, { file: '/nowhere' }]), /ENOENT/)
      const none = await launcher.launch({ command: ['/nowhere'], env, descriptors: five, nice: null })
      const how = await none.exited.catch((error: NodeJS.ErrnoException) => error)
      assert.ok('message' in how ? /ENOENT/.test(how.message) : how.code === 127)
    })

    test('starts many at once, each with its own streams, which stay when the program has ended and another has them', async () => {
      await Promise.all(
        Array.from({ length: 30 }, async (_, n) => {
          const one = await launch(`(sleep 0.2; echo ${n} >&3) & exit 0`)
          await one.exited
          assert.equal(await text(streamOf(one, 3)), `${n}\n`)
        }),
      )
    })
  })
}

test('a stream tells nothing of the host by its name, and nobody else finds the socket', async () => {
  const at = path.join(folder, 'secret-name')
  using launcher = new Launcher({ folder: at })
  await launcher.begin()
  const named = `const net = require('node:net'); const s = new net.Socket({ fd: 3 }); s.write(JSON.stringify([s._handle.constructor.name]) + require('node:fs').readFileSync('/proc/net/unix', 'latin1')); s.end()`
  const one = await launcher.launch({ command: [process.execPath, '-e', named], env, descriptors: five, nice: null })
  const said = await text(streamOf(one, 3))
  assert.match(said, /Pipe/)
  assert.doesNotMatch(said, /secret-name/)
  assert.equal(statSync(at).mode & 0o777, 0o700)
})

test('a launcher whose helper is killed tells so of what it had started, and starts the next by another', async () => {
  using launcher = new Launcher({ folder: path.join(folder, 'killed'), byItself: 0 })
  await launcher.begin()
  const parent = async () => {
    const one = await launcher.launch({ command: ['sh', '-c', 'echo $PPID >&3; exec sleep 5'], env, descriptors: five, nice: null })
    return { one, pid: Number(((await once(streamOf(one, 3), 'data')) as [Buffer])[0].toString()) }
  }
  const first = await parent()
  assert.notEqual(first.pid, process.pid)
  process.kill(first.pid, 'SIGKILL')
  assert.deepEqual(await first.one.exited, { code: null, signal: 'SIGKILL' })
  close(first.one)
  const meanwhile = await parent()
  assert.equal(meanwhile.pid, process.pid)
  meanwhile.one.kill('SIGKILL')
  await launcher.begin()
  const second = await parent()
  assert.notEqual(second.pid, first.pid)
  second.one.kill('SIGKILL')
  await second.one.exited
  close(second.one)
})

const isGone = (pid: number) => !existsSync(`/proc/${pid}`) || /^\S+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
const gone = async (pid: number) => {
  while (!isGone(pid)) await pause(10)
}

test('what a killed helper had started has ended when that is told, whatever it does with signals; what left its session goes on', async () => {
  using launcher = new Launcher({ folder: path.join(folder, 'orphans'), byItself: 0 })
  await launcher.begin()
  const script = 'trap "" TERM INT HUP; setsid sh -c "echo $PPID \\$\\$ >&3; exec sleep 60" & while :; do sleep 0.1; done'
  const one = await launcher.launch({ command: ['sh', '-c', script], env, descriptors: five, nice: null })
  const [chunk] = (await once(streamOf(one, 3), 'data')) as [Buffer]
  const [helper = 0, apart = 0] = chunk.toString().split(' ').map(Number)
  process.kill(helper, 'SIGKILL')
  assert.deepEqual(await one.exited, { code: null, signal: 'SIGKILL' })
  await gone(one.pid as number)
  assert.equal(isGone(apart), false)
  process.kill(apart, 'SIGKILL')
  close(one)
})

test('whenever a helper is killed, what is being started by it comes or fails, and leaves no descriptor', async () => {
  using launcher = new Launcher({ folder: path.join(folder, 'any-moment'), byItself: 0 })
  const descriptors = () => readdirSync('/proc/self/fd').length
  let before = 0
  for (const [round, afterMs] of [0, 0, 2, 5, 12].entries()) {
    await launcher.begin()
    const one = await launcher.launch({ command: ['sh', '-c', 'echo $PPID >&3; exec sleep 60'], env, descriptors: five, nice: null })
    const helper = Number(((await once(streamOf(one, 3), 'data')) as [Buffer])[0].toString())
    const coming = Array.from({ length: 4 }, () => launcher.launch({ command: ['sleep', '60'], env, descriptors: five, nice: null }))
    await pause(afterMs)
    process.kill(helper, 'SIGKILL')
    for (const made of [one, ...(await Promise.allSettled(coming)).flatMap((how) => (how.status === 'fulfilled' ? how.value : []))]) {
      await made.exited
      close(made)
      await gone(made.pid as number)
    }
    await pause(20)
    if (round === 0) before = descriptors()
  }
  assert.ok(descriptors() <= before, `${before} descriptors after the first round, ${descriptors()} after the last`)
})

test('what a process left that was killed, by which programs were started, goes when the next one starts', async () => {
  const at = path.join(folder, 'left')
  mkdirSync(at, { mode: 0o700 })
  for (const name of ['l1', 'l99999999', 'another']) writeFileSync(path.join(at, name), '')
  using launcher = new Launcher({ folder: at, byItself: 0 })
  await launcher.begin()
  assert.deepEqual(readdirSync(at).toSorted(), ['another', `l${process.pid}`])
})

test('a launcher whose helper cannot be started, as its folder is a file, starts all by itself', async () => {
  const file = path.join(folder, 'a-file')
  writeFileSync(file, '')
  using launcher = new Launcher({ folder: file, byItself: 0 })
  const one = await launcher.launch({ command: ['true'], env, descriptors: five, nice: null })
  assert.equal((await one.exited).code, 0)
})

test('a helper ends with whoever starts programs by it', async () => {
  const launcher = new Launcher({ folder: path.join(folder, 'ends'), byItself: 0 })
  await launcher.begin()
  const one = await launcher.launch({ command: ['sh', '-c', 'echo $PPID >&3; exec sleep 60'], env, descriptors: five, nice: null })
  const pid = Number(((await once(streamOf(one, 3), 'data')) as [Buffer])[0].toString())
  one.kill('SIGKILL')
  await one.exited
  launcher[Symbol.dispose]()
  await gone(pid)
  const direct = await launcher.launch({ command: ['true'], env, descriptors: five, nice: null })
  assert.equal((await direct.exited).code, 0)
})

test('a process that waits for what it started does not end meanwhile, and ends when that has', async () => {
  const program = `import { Launcher } from './launcher.ts'
    const launcher = new Launcher({ folder: ${JSON.stringify(path.join(folder, 'waits'))}, byItself: 0 })
    const alive = setInterval(() => {}, 1_000)
    await launcher.begin()
    clearInterval(alive)
    const one = await launcher.launch({ command: ['sleep', '0.3'], env: { PATH: '/usr/bin:/bin' }, descriptors: ['nothing', 'nothing', 'nothing'], nice: null })
    process.stdout.write(JSON.stringify(await one.exited))`
  const said = execFileSync(process.execPath, ['--input-type=module', '-e', program], { cwd: import.meta.dirname, encoding: 'utf8', timeout: 20_000 })
  assert.deepEqual(JSON.parse(said), { code: 0, signal: null })
})

test('what is placed where', () => {
  assert.deepEqual(placed(five), { slots: [3, 4, 2, null, null], script: 'exec 3<&0 0<>/dev/null 4<&1 1<>/dev/null; exec "$@"' })
  assert.deepEqual(placed(['stream', 'stream', 'stream']), { slots: [0, 1, 2], script: 'exec "$@"' })
})
