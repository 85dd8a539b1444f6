import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { test } from 'node:test'
import { standBehind } from './stand-behind.ts'

test('a program gives way, and where the kernel weighs sessions its session does', () => {
  const child = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' })
  const pid = child.pid as number
  try {
    standBehind(pid, 5)
    assert.equal(getPriority(pid), Math.min(19, getPriority() + 5))
    const session = `/proc/${pid}/autogroup`
    if (existsSync(session)) assert.match(readFileSync(session, 'latin1'), /nice 5$/m)
  } finally {
    child.kill('SIGKILL')
  }
})

test('a program gives way to one that gives way itself, whose user may put nothing before anything', () => {
  const program = `import { spawn } from 'node:child_process'
    import { getPriority, setPriority } from 'node:os'
    import { standBehind } from './stand-behind.ts'
    if (process.getuid() === 0) process.setuid(65534)
    const child = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' })
    standBehind(child.pid, 5)
    process.stdout.write(getPriority(child.pid) - getPriority() + '')
    setPriority(19)
    standBehind(child.pid, 5)
    standBehind(2 ** 22, 5)
    process.stdout.write(' ' + getPriority(child.pid))
    child.kill('SIGKILL')`
  const said = execFileSync('nice', ['-n', '9', process.execPath, '--input-type=module', '-e', program], { cwd: import.meta.dirname, encoding: 'utf8' })
  assert.equal(said, '5 19')
})
