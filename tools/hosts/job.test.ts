import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { describe, it } from 'node:test'
import { codeIn, ENDED, jobOf, WAYS } from './job.ts'
import { CLOCKS, commandOf, isAccelerated } from './machine.ts'

describe('the job of a host', () => {
  it('is a script of bash, whoever runs it and whatever stands in the command', () => {
    for (const way of WAYS) {
      const { status, stderr } = spawnSync('bash', ['-n'], { input: jobOf(way, `echo "it's $HOME" && ls`), encoding: 'utf8' })
      assert.deepEqual([status, stderr], [0, ''], way)
    }
  })

  it('tells the exit code of its command at the end, and nothing when it was cut off', () => {
    assert.equal(codeIn(`one\n${ENDED}3\n`), 3)
    assert.equal(codeIn(`${ENDED}1 stands in what a test said\n${ENDED}0\n`), 0)
    assert.equal(codeIn('one\n'), null)
    assert.equal(codeIn(`one\n${ENDED}`), null)
  })

  it('is run by the processor itself where that has the means, and KVM can be used', () => {
    const flags = (...names: string[]) => `model name\t: any\nflags\t\t: fpu ${names.join(' ')} sse\n`
    for (const [kvm, names, accelerated] of [
      [true, ['vmx'], true],
      [true, ['svm'], true],
      [false, ['vmx'], false],
      // KVM without them runs kernels made for it alone.
      [true, ['hypervisor', 'vmx_something'], false],
    ] as const) {
      assert.equal(isAccelerated(kvm, flags(...names)), accelerated, names.join())
      const command = commandOf({ disk: 'd', kernel: 'k', initrd: 'i' }, 'w', 's', { memoryMb: 512, processors: 1, accelerated, clock: 'machine' })
      assert.equal(command.includes('kvm'), accelerated)
    }
    for (const clock of CLOCKS) {
      const command = commandOf({ disk: 'd', kernel: 'k', initrd: 'i' }, 'w', 's', { memoryMb: 512, processors: 1, accelerated: false, clock })
      assert.equal(command.includes('-icount'), clock === 'instructions')
    }
  })

  it('hears what is typed, and goes on where nobody types anything', () => {
    const main = `import(${JSON.stringify(path.join(import.meta.dirname, 'machine.ts'))}).then(({ runMachine }) =>
      runMachine(['bash', '-c', 'read line; echo "$line"; read -t 0.3; echo $(($? > 128))'], new AbortController().signal, (text) => process.stdout.write(text)))`
    const { status, stdout } = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', '-e', main], { input: 'typed\n', encoding: 'utf8' })
    assert.deepEqual([status, stdout], [0, 'typed\n1\n'])
  })

  it('is not begun where a command is wrong, or this machine has not what it takes', () => {
    const run = (...args: string[]) =>
      spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', path.join(import.meta.dirname, 'run.ts'), ...args], { encoding: 'utf8' })
    for (const [args, why] of [
      [[], /Name test files/],
      [['--as', 'nobody', 'conformance'], /--as is one of root, container, user, delegated/],
    ] as const) {
      const { status, stderr } = run(...args)
      assert.equal(status, 2)
      assert.match(stderr, why)
    }
  })
})
