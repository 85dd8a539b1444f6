import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { describe, it } from 'node:test'

const factors = (script: string): string[] => {
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--expose-gc', '--trace-gc-verbose', '--input-type=module', '--eval', script],
    { encoding: 'utf8', cwd: import.meta.dirname },
  )
  return [...`${stdout}${stderr}`.matchAll(/\[HeapController\] factor (\d+\.\d) /g)].map(([, factor = '']) => factor)
}

describe('growByAsMuchAgain', () => {
  const heap = JSON.stringify(path.join(import.meta.dirname, 'heap.ts'))
  const lives = 'globalThis.lives = Array.from({ length: 200_000 }, (_, n) => ({ n })); gc()'

  it('has the heap of a process that runs grow to twice what lives in it before it is collected again', () => {
    const [before, ...after] = factors(`const { growByAsMuchAgain } = await import(${heap}); ${lives}; growByAsMuchAgain(); gc(); gc()`)
    assert.notEqual(before, '2.0')
    assert.deepEqual([...new Set(after)], ['2.0'])
  })
})
