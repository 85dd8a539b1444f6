import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { JOB } from './image.ts'
import { SKIPS, type Variant } from '../../src/sandbox/drivers/conformance-table.ts'

const PATTERN = '/proc/sys/kernel/core_pattern'
// Which program takes core dumps is the whole machine's.
const skip = existsSync(path.join(JOB, 'job.sh')) && process.getuid?.() === 0 ? false : 'needs a host of its own (`npm run test:host -- core-dumps`)'
const VARIANTS = (['crun', 'runc', 'bwrap'] as const).filter((one: Variant) => SKIPS[one] === false)

/** A node of its own, whose sandbox starts a program that crashes. */
const crashing = (variant: Variant) => `
import { makeSlots, openVariant, Told } from ${JSON.stringify(new URL('../../src/sandbox/drivers/conformance-table.ts', import.meta.url))}
import { rm } from 'node:fs/promises'
import path from 'node:path'
const slots = await makeSlots()
const driver = await openVariant('${variant}', 'coretest${process.pid}')
const told = await Told.start(driver, slots, 's-1')
console.log(JSON.stringify({ ended: await told.ask('crash'), missing: driver.missing.map(({ what }) => what).filter((what) => what === 'core-dumps') }))
await told.sandbox.kill()
await driver[Symbol.asyncDispose]()
await rm(path.dirname(slots), { recursive: true })`

describe('a crash in a sandbox, where the kernel hands core dumps to a program of the host', { skip, timeout: 300_000 }, () => {
  let folder = ''
  let patternBefore = ''
  const taken = () => (existsSync(path.join(folder, 'taken')) ? readFileSync(path.join(folder, 'taken'), 'utf8').trim().split('\n') : [])
  const run = (before: readonly string[], variant: Variant) => {
    const [program = '', ...args] = [...before, process.execPath, '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', crashing(variant)]
    return JSON.parse(execFileSync(program, args, { encoding: 'utf8' })) as { ended: string; missing: string[] }
  }
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-core-'))
    const program = path.join(folder, 'take')
    writeFileSync(program, `#!/bin/sh\necho "$1" >> ${path.join(folder, 'taken')}\n`)
    chmodSync(program, 0o755)
    patternBefore = readFileSync(PATTERN, 'utf8')
    writeFileSync(PATTERN, `|${program} %e`)
  })
  beforeEach(() => rmSync(path.join(folder, 'taken'), { force: true }))
  after(() => {
    writeFileSync(PATTERN, patternBefore)
    rmSync(folder, { recursive: true })
  })

  it('the kernel starts it at a limit of 0, and at 1 it does not', () => {
    const crash = (limit: number) => execFileSync('prlimit', [`--core=${limit}:${limit}`, 'sh', '-c', `sh -c 'kill -SEGV $$' || true`])
    crash(1)
    assert.deepEqual(taken(), [])
    crash(0)
    assert.deepEqual(taken(), ['sh'])
  })

  for (const variant of VARIANTS) {
    it(`by ${variant} starts none, also where the node was started with a limit of 0`, () => {
      for (const before of [[], ['prlimit', '--core=0:0']])
        assert.deepEqual([run(before, variant), taken()], [{ ended: 'SIGSEGV', missing: [] }, []], before.join(' '))
    })

    // On control groups of the second version crun raises its limit of locked memory, which takes the same right.
    it(`by ${variant} starts it where the node may have no other limit than 0, and that is said`, {
      skip: variant === 'crun' && 'crun takes the right itself',
    }, () => {
      const without = ['prlimit', '--core=0:0', 'setpriv', '--bounding-set=-sys_resource', '--inh-caps=-sys_resource']
      assert.deepEqual([run(without, variant), taken()], [{ ended: 'SIGSEGV', missing: ['core-dumps'] }, ['sh']])
    })
  }
})
