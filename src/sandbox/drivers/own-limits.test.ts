import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { eachWithin, lackOf, ownLimits } from './own-limits.ts'

const ALL = { CORE: 1, NOFILE: 1024, SIGPENDING: 256, MEMLOCK: 65_536, MSGQUEUE: 0 }
const PROGRAM = '|/usr/share/apport/apport %p\n'

describe('the limits of processes that a sandbox is given', () => {
  it('are all that is wanted where this process may have that', async () => {
    assert.deepEqual(await ownLimits(), { each: ALL, missing: [] })
  })

  it('are those of this process where it has less, unless it may raise them', () => {
    const script = `import { ownLimits } from ${JSON.stringify(new URL('./own-limits.ts', import.meta.url))}; console.log(JSON.stringify((await ownLimits()).each))`
    const less = ['--core=0:0', '--nofile=300:300', '--sigpending=100:100', '--memlock=4096:4096']
    const said = execFileSync('prlimit', [...less, process.execPath, '--input-type=module', '-e', script], { encoding: 'utf8' })
    const SYS_RESOURCE = 1 << 24
    const raises = (Number.parseInt(/^CapEff:\s+(\w+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]?.slice(-8) ?? '0', 16) & SYS_RESOURCE) !== 0
    assert.deepEqual(JSON.parse(said), raises ? ALL : { CORE: 0, NOFILE: 300, SIGPENDING: 100, MEMLOCK: 4096, MSGQUEUE: 0 })
  })

  it('go by the hard ones', () => {
    const row = (hard: string) =>
      `Max data size             unlimited            unlimited            bytes\nMax core file size        0                    ${hard}                bytes\n`
    assert.deepEqual(
      ['unlimited', '1', '1048576', '0'].map((hard) => eachWithin(row(hard)).CORE),
      [1, 1, 1, 0],
    )
  })

  it('are told where something is missing', () => {
    const missing = (changes: Partial<typeof ALL>, pattern: string) => lackOf({ ...ALL, ...changes }, pattern).map(({ what }) => what)
    assert.deepEqual(missing({ CORE: 0 }, PROGRAM), ['core-dumps'])
    assert.deepEqual(missing({ NOFILE: 1023 }, 'core\n'), ['all-open-files'])
    for (const [core, pattern] of [
      [1, PROGRAM],
      [0, 'core\n'],
      [0, '\n'],
    ] as const)
      assert.deepEqual(missing({ CORE: core }, pattern), [])
  })
})
