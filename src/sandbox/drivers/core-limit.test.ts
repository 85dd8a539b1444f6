import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { coreBytes, coreLimit, lackOf } from './core-limit.ts'

const PROGRAM = '|/usr/share/apport/apport %p\n'

describe('the limit of core dumps that a sandbox is given', () => {
  it('is one byte where this process may have that', async () => {
    assert.deepEqual(await coreLimit(), { bytes: 1, missing: [] })
  })

  it('is none in what may have none, unless it may raise that itself', () => {
    const script = `import { coreLimit } from ${JSON.stringify(new URL('./core-limit.ts', import.meta.url))}; console.log((await coreLimit()).bytes)`
    const said = execFileSync('prlimit', ['--core=0:0', process.execPath, '--input-type=module', '-e', script], { encoding: 'utf8' })
    const raises = (Number.parseInt(/^CapEff:\s+(\w+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]?.slice(-8) ?? '0', 16) & (1 << 24)) !== 0
    assert.equal(Number(said), raises ? 1 : 0)
  })

  const row = (hard: string) =>
    `Max data size             unlimited            unlimited            bytes\nMax core file size        0                    ${hard}                bytes\n`
  it('goes by the hard limit', () => {
    assert.deepEqual(
      ['unlimited', '1', '1048576', '0'].map((hard) => coreBytes(row(hard))),
      [1, 1, 1, 0],
    )
  })

  it('is said to be missing where dumps would reach a program of the host', () => {
    assert.deepEqual(
      lackOf(0, PROGRAM).map(({ what }) => what),
      ['core-dumps'],
    )
    for (const [bytes, pattern] of [
      [1, PROGRAM],
      [0, 'core\n'],
      [1, 'core\n'],
      [0, '\n'],
    ] as const)
      assert.deepEqual(lackOf(bytes, pattern), [])
  })
})
