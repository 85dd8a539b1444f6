import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { LIMITS } from '../../core/limits.ts'
import { systemClock } from '../../lib/clock.ts'
import { MemoryWatch } from './memory-watch.ts'

/** Holds so much, forks so often, and each child writes so much of it anew. */
const PROGRAM = `import os, sys, time
mb, forks, anew = map(int, sys.argv[1:])
held = bytearray(b'x') * (mb << 20)
said, says = os.pipe()
for _ in range(forks):
    if os.fork() == 0:
        for at in range(0, anew << 20, 4096): held[at] = 1
        os.write(says, b'.')
        time.sleep(600)
for _ in range(forks): os.read(said, 1)
print('begun', flush=True)
time.sleep(600)`
const LIMIT_MB = 100

/** @returns what the watch ended of those, when each was looked at more than once */
async function ended(programs: Readonly<Record<string, readonly [mb: number, forks: number, anew: number]>>): Promise<string[]> {
  const children: ChildProcess[] = []
  const over: string[] = []
  using watch = new MemoryWatch<object>()
  try {
    for (const [name, numbers] of Object.entries(programs)) {
      const child = spawn('/usr/bin/python3', ['-c', PROGRAM, ...numbers.map(String)], { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
      children.push(child)
      await once(child.stdout as NodeJS.ReadableStream, 'data')
      watch.watch(child, { init: child.pid as number, limitMb: LIMIT_MB, over: () => over.push(name) })
    }
    const wanted = Object.keys(programs).filter((name) => name.startsWith('over'))
    for (let tries = 0; tries < 600 && over.length < wanted.length; tries++) await systemClock.sleep(50)
    await systemClock.sleep(6 * LIMITS.memoryLook.value)
    return over.toSorted()
  } finally {
    for (const { pid } of children) if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  }
}

test('what one holds beyond its limit, alone or with its children, ends it; what children share with it counts once', { timeout: 60_000 }, async () => {
  const over = await ended({ 'over alone': [150, 0, 0], 'over by its children': [40, 4, 40], 'keeps below with children': [40, 12, 0], below: [40, 0, 0] })
  assert.deepEqual(over, ['over alone', 'over by its children'])
})
