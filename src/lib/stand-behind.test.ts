import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { test } from 'node:test'
import { standBehind } from './stand-behind.ts'

test('a program gives way, and where the kernel weighs sessions its session does', () => {
  const child = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' })
  const pid = child.pid as number
  try {
    standBehind(pid, 5)
    assert.equal(getPriority(pid), 5)
    const session = `/proc/${pid}/autogroup`
    if (existsSync(session)) assert.match(readFileSync(session, 'latin1'), /nice 5$/m)
  } finally {
    child.kill('SIGKILL')
  }
})
