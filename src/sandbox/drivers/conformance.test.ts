import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { promises as fs, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { MiB } from '../../lib/bytes.ts'
import { systemClock } from '../../lib/clock.ts'
import type { Driver } from '../types.ts'
import { groupsOf, makeSlots, markerOf, openVariant, SKIPS, Told, type Variant } from './conformance-table.ts'

/** The processes of this machine that carry a word in their command line. */
const carrying = (word: string): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(word)
      } catch {
        return false
      }
    })

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (await what()) return
    await systemClock.sleep(20)
  }
  assert.fail(what.toString())
}

for (const variant of Object.keys(SKIPS) as Variant[]) {
  describe(`sandboxes by ${variant}`, { skip: SKIPS[variant], timeout: 90_000 }, () => {
    let slots = ''
    let driver: Driver
    let next = 0
    const name = `drivertest${process.pid}${Object.keys(SKIPS).indexOf(variant)}`
    const start = (changes = {}) => Told.start(driver, slots, `s-${++next}`, changes)
    const marker = () => markerOf(slots)
    before(async () => {
      slots = await makeSlots()
      driver = await openVariant(variant, name)
      await driver.sweep()
    })
    after(async () => {
      await driver[Symbol.asyncDispose]()
      assert.deepEqual([carrying(marker()), await groupsOf(name)], [[], []])
      await fs.rm(path.dirname(slots), { recursive: true })
    })

    it('have their code, both descriptors, and an environment of their own', async () => {
      const told = await start()
      const { relay, paths } = told.sandbox
      const { pid, environment } = await told.ask<{ pid: number; environment: string[] }>('hello')
      assert.ok(pid < 20, 'numbered for itself')
      assert.deepEqual(
        environment.filter((name) => name !== 'PWD'),
        // What every Node function has is there from the start where it lies in the same place for all.
        told.sandbox.isolated
          ? ['HOME', 'LAMBDA_RUNTIME_DIR', 'LAMBDA_TASK_ROOT', 'LANG', 'LD_LIBRARY_PATH', 'NODE_PATH', 'PATH', 'TZ']
          : ['HOME', 'LANG', 'LD_LIBRARY_PATH', 'PATH'],
      )
      relay.write('there and back')
      assert.equal(String((await once(relay, 'data'))[0]), 'there and back')
      // What arrives by a rename later is seen too.
      const slot = path.join(slots, told.sandbox.id)
      await fs.writeFile(path.join(slot, 'new'), 'arrived')
      await fs.rename(path.join(slot, 'new'), path.join(slot, 'code', 'new'))
      assert.equal(await told.ask('read', { file: path.join(paths.code, 'new') }), 'arrived')
      for (const folder of [paths.code, paths.opt, '/fn', '/etc', '/'])
        assert.match(await told.ask('write', { file: path.join(folder, 'x'), bytes: 1 }), /^(EROFS|EACCES)$/, folder)
      await told.sandbox.kill()
    })

    it('are held to the limits that the driver says the kernel holds', async () => {
      const told = await start({ pids: 40 })
      const { limits } = driver
      if (limits.includes('tmp-size')) assert.equal(await told.ask('write', { file: '/tmp/large', bytes: 2 * MiB }), 'ENOSPC')
      if (variant !== 'gvisor') assert.ok((await told.ask<number>('files', { folder: '/tmp', count: 100_000 })) < 66_000)
      if (limits.includes('open-files')) assert.equal(await told.ask('open', { count: 2_000 }), 'EMFILE')
      if (limits.includes('pids')) {
        const made = await told.ask<number>('children', { count: 400, marker: marker() }).catch(() => null)
        // gVisor itself ends, as it can't do without what it asks the host for.
        if (variant !== 'gvisor') assert.ok(made && made < 40, String(made))
        else assert.ok(made === null || made < 200, String(made))
        // What one has used up, its neighbour still has.
        const other = await start({ pids: 40 })
        assert.equal(await other.ask('children', { count: 2, marker: marker() }), 2)
        await other.sandbox.kill()
      }
      const quiet = await start()
      const measured = quiet.sandbox.memory()
      assert.ok(measured && measured.currentMb > 0 && measured.peakMb >= measured.currentMb)
      await Promise.all([told.sandbox.kill(), quiet.sandbox.kill()])
      // The limit that was expected gives way to that of the version, and holds where it is the same.
      for (const expected of [512, 64]) {
        const hungry = await start()
        hungry.sandbox.expectLimit?.(expected)
        hungry.sandbox.limit({ memoryMb: 64 })
        hungry.tell('allocate', { mb: 512 })
        assert.deepEqual((await hungry.sandbox.exited).outOfMemory, true, String(expected))
        await hungry.sandbox.kill()
      }
    })

    it('stand still while they are frozen, however often, and go on where they stood', async () => {
      const told = await start()
      for (let round = 0; round < 3; round++) {
        await told.sandbox.freeze()
        told.tell('hello')
        await systemClock.sleep(150)
        assert.equal(told.answered, false)
        await told.sandbox.thaw()
        await told.answer()
      }
      assert.equal(await told.ask('children', { count: 3, marker: marker() }), 3)
      await told.sandbox.freeze()
      await told.sandbox.kill()
      assert.deepEqual(carrying(marker()), [], 'a frozen one dies like any other')
    })

    it('leave nothing when they are killed, whatever they started', async () => {
      const told = await start()
      assert.equal(await told.ask('children', { count: 5, marker: marker() }), 5)
      await Promise.all([told.sandbox.kill(), told.sandbox.kill()])
      await told.sandbox.exited
      assert.deepEqual([carrying(marker()), await groupsOf(name)], [[], []])
      assert.equal(told.sandbox.memory(), null)
      await told.sandbox.kill()
    })

    it('end with their first process, and say so', async () => {
      const told = await start()
      assert.equal(await told.ask('children', { count: 3, marker: marker() }), 3)
      told.tell('exit', { code: 3 })
      const { code, outOfMemory } = await told.sandbox.exited
      assert.deepEqual([outOfMemory, code === null || code === 3], [false, true])
      await told.sandbox.kill()
      assert.deepEqual([carrying(marker()), await groupsOf(name)], [[], []])
    })

    it('keep nothing of what ended without a parent', async () => {
      const told = await start({ pids: 24 })
      assert.equal(await told.ask('orphans', { count: 30 }), 30)
      await until(async () => (await told.ask<string[]>('list', { folder: '/proc' })).filter((entry) => /^\d+$/.test(entry)).length === 2)
      await told.sandbox.kill()
    })

    it('are made without their program where the driver holds it, and it begins when it is told to', async (context) => {
      if (!driver.holds) return context.skip('it holds none')
      const programs = () => carrying(marker()).map((pid) => readlinkSync(`/proc/${pid}/exe`))
      const isNode = (file: string) => file.endsWith('/node')
      const held = await Told.make(driver, slots, `s-${++next}`, { held: true, background: true })
      // The runtime is done before the shell has begun.
      await until(() => programs().length > 0)
      assert.ok(!programs().some(isNode), programs().join())
      held.begin?.()
      const told = await Told.greet(held)
      assert.ok(programs().some(isNode))
      const { environment } = await told.ask<{ environment: string[] }>('hello')
      assert.ok(environment.includes('LAMBDA_TASK_ROOT'))
      await held.kill()
      // One that is never told to ends with who would have.
      const other = await Told.make(driver, slots, `s-${++next}`, { held: true })
      other.control.destroy()
      await until(() => carrying(marker()).length === 0)
      await other.kill()
    })

    it('see no process, file or network of one another', async () => {
      const [one, other] = await Promise.all([start(), start()])
      await one.ask('write', { file: '/tmp/mine', bytes: 1 })
      assert.equal(await other.ask('read', { file: '/tmp/mine' }), 'ENOENT')
      const numbers = (await other.ask<string[]>('list', { folder: '/proc' })).filter((entry) => /^\d+$/.test(entry))
      assert.equal(numbers.length, 2, 'its own first process, and itself')
      assert.doesNotMatch(await other.ask('read', { file: '/proc/net/tcp' }), /: 0100007F/)
      await Promise.all([one.sandbox.kill(), other.sandbox.kill()])
    })

    it('write a compile cache of a bounded size, which is read when they are dead', async () => {
      const told = await start({ cache: { bytes: MiB, files: 10 } })
      const { cache, paths } = told.sandbox
      if (cache === null) {
        assert.ok(driver.missing.some(({ what }) => what === 'compile cache'))
        return await told.sandbox.kill()
      }
      assert.equal(paths.cache, '/cache')
      assert.equal(await told.ask('write', { file: '/cache/entry', bytes: 1_000 }), 'written')
      assert.equal(await told.ask('write', { file: '/cache/large', bytes: 2 * MiB }), 'ENOSPC')
      await told.sandbox.kill()
      assert.equal((await fs.readFile(`/proc/self/fd/${cache.fd}/entry`)).length, 1_000)
      await cache.close()
    })

    it('inherit nothing that the node has open, and do not outlive it', async () => {
      const slotsOfAnother = await makeSlots()
      const word = markerOf(slotsOfAnother)
      const file = path.join(import.meta.dirname, 'conformance-node.ts')
      const nameOfAnother = `${name}b`
      const node = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', file, variant, nameOfAnother, slotsOfAnother], {
        // As a careless shell leaves them: without the flag that closes them.
        stdio: ['ignore', 'pipe', 'inherit', ...Array.from({ length: 12 }, () => 'pipe' as const)],
      })
      using _ = { [Symbol.dispose]: () => void node.kill('SIGKILL') }
      const line = String((await Promise.race([once(node.stdout as NodeJS.ReadableStream, 'data'), once(node, 'close')]))[0])
      const inside = Object.values(JSON.parse(line) as Record<string, string>)
      const outside = readdirSync(`/proc/${node.pid}/fd`).map((fd) => readlinkSync(`/proc/${node.pid}/fd/${fd}`))
      const shared = inside.filter((link) => /^(pipe|socket):/.test(link) && outside.includes(link))
      assert.deepEqual(shared, [])
      assert.equal(new Set(inside.filter((link) => /^(socket|host):/.test(link))).size, 3, 'its two ways to the host, and its outputs in one')
      // Under gVisor the host sees gVisor alone.
      const seen = variant === 'gvisor' ? `${nameOfAnother}-s-1` : word
      assert.ok(carrying(seen).length >= 2)
      node.kill('SIGKILL')
      await once(node, 'close')
      const again = await openVariant(variant, nameOfAnother)
      await again.sweep()
      await until(() => carrying(word).length + carrying(seen).length === 0)
      assert.deepEqual(await groupsOf(nameOfAnother), [])
      await again[Symbol.asyncDispose]()
      await fs.rm(path.dirname(slotsOfAnother), { recursive: true })
    })
  })
}

for (const variant of ['runc', 'crun', 'gvisor', 'bwrap'] as const) {
  describe(`sandboxes by ${variant} where nothing below /run may be executed, as with systemd`, { skip: SKIPS[variant], timeout: 90_000 }, () => {
    let slots = ''
    let run = ''
    const mount = (...args: string[]) => execFileSync('mount', ['-t', 'tmpfs', '-o', 'nosuid,nodev,noexec,mode=755', ...args], { stdio: 'pipe' })
    before(async () => {
      slots = await makeSlots()
      run = await fs.mkdtemp(path.join(tmpdir(), 'mayfly-run-'))
    })
    after(async () => {
      for (const folder of [path.dirname(slots), run]) await fs.rm(folder, { recursive: true })
    })

    it('are made all the same', { skip: process.getuid?.() === 0 ? false : 'needs root' }, async () => {
      mount('none', run)
      try {
        await using driver = await openVariant(variant, `noexec${process.pid}`, run)
        const told = await Told.start(driver, slots, 's-1', {})
        assert.ok((await told.ask<{ pid: number }>('hello')).pid < 20)
        await told.sandbox.kill()
      } finally {
        execFileSync('umount', ['--lazy', run])
      }
    })
  })
}
