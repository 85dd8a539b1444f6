import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { afterEach, describe, it } from 'node:test'
import { systemClock } from '../../lib/clock.ts'
import { continueFamily, familyOf, heldBy, memoryOf, sharedOutMbOf, stopFamily } from './family.ts'

describe('a process and those below it', () => {
  let parent: ChildProcess
  /** Each of these starts another in its stead, over and over. */
  const restless = 'while :; do sh -c "sleep 0.01" & wait; done'
  const start = async (script: string) => {
    parent = spawn('sh', ['-c', `${script} & echo begun; wait`], { stdio: ['ignore', 'pipe', 'ignore'], detached: true })
    await once(parent.stdout as NodeJS.ReadableStream, 'data')
    return parent.pid as number
  }
  const states = (pid: number) => familyOf(pid).map((one) => /^State:\t(\w)/m.exec(readFileSync(`/proc/${one}/status`, 'utf8'))?.[1])
  afterEach(() => process.kill(-(parent.pid as number), 'SIGKILL'))

  it('are stopped all, also those that make others meanwhile, and go on', async () => {
    const pid = await start(restless)
    await stopFamily(pid, systemClock)
    const stopped = familyOf(pid)
    assert.ok(stopped.length >= 2)
    for (const state of states(pid)) assert.match(state ?? '', /[TZD]/)
    await systemClock.sleep(50)
    assert.deepEqual(familyOf(pid), stopped, 'nothing was started or ended')
    continueFamily(pid)
    for (let tries = 0; tries < 500 && familyOf(pid).join() === stopped.join(); tries++) await systemClock.sleep(20)
    assert.notDeepEqual(familyOf(pid), stopped)
  })

  it('are counted with the children of threads', async () => {
    const script = `const { Worker } = require('worker_threads'); new Worker('require("child_process").spawn("sleep", ["60"]); console.log("begun")', { eval: true })`
    parent = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'ignore'], detached: true })
    await once(parent.stdout as NodeJS.ReadableStream, 'data')
    assert.equal(familyOf(parent.pid as number).length, 2)
  })

  it('hold what they share once, and what each wrote itself', async () => {
    const program = (writes: boolean) => `import os, time
held = bytearray(b'x') * (40 << 20)
said, says = os.pipe()
for _ in range(4):
    if os.fork() == 0:
        ${writes ? 'for at in range(0, len(held), 4096): held[at] = 1' : 'pass'}
        os.write(says, b'.')
        time.sleep(60)
for _ in range(4): os.read(said, 1)
print('begun', flush=True)
time.sleep(60)`
    for (const writes of [false, true]) {
      parent = spawn('/usr/bin/python3', ['-c', program(writes)], { stdio: ['ignore', 'pipe', 'ignore'], detached: true })
      await once(parent.stdout as NodeJS.ReadableStream, 'data')
      const pid = parent.pid as number
      assert.equal(familyOf(pid).length, 5)
      const [{ togetherMb, mostMb }, held] = [heldBy(pid), await sharedOutMbOf(pid)]
      assert.ok(togetherMb >= 200 && mostMb >= 40 && mostMb < 100, `${togetherMb} MB, ${mostMb} in one`)
      assert.ok(writes ? held >= 200 : held >= 40 && held < 100, `${held} MB`)
      if (!writes) process.kill(-pid, 'SIGKILL')
    }
  })

  it('have memory while they are there', async () => {
    const pid = await start('sleep 60')
    const memory = memoryOf(pid)
    assert.ok(memory && memory.currentMb > 0 && memory.peakMb >= memory.currentMb)
    process.kill(-pid, 'SIGKILL')
    await once(parent, 'exit')
    assert.equal(memoryOf(pid), null)
    await start('sleep 60')
  })
})
