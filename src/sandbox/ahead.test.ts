import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLog } from '../core/log.ts'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { Ahead, type AheadDeps } from './ahead.ts'
import type { SandboxSpec } from './types.ts'

const SPEC = { key: 'one', reuse: 'never', timeoutMs: 1_000 } as SandboxSpec

/** How often a sandbox is started for a version, when its turn comes. */
async function starts(changes: { isWanted?: boolean; fits?: boolean; isOver?: boolean; isShort?: boolean } = {}): Promise<number> {
  const { isWanted = true, fits = true, isOver = false, isShort = false } = changes
  const deps = {
    spares: { isWanted: () => isWanted },
    budget: { fits: () => fits, comes: () => ({ [Symbol.dispose]: () => {} }) },
    isOver: () => isOver,
    isShort: () => isShort,
    clock: new VirtualClock(),
    log: silentLog,
    closing: new AbortController().signal,
  } as unknown as AheadDeps
  let count = 0
  await new Ahead(deps)
    .spare(SPEC, () => {
      count++
      return Promise.reject(new Error('none starts here'))
    })
    .catch(() => {})
  return count
}

test('one is started where it is wanted when its turn comes, and there is memory for it', async () => {
  assert.equal(await starts(), 1)
  assert.equal(await starts({ isWanted: false }), 0, 'its calls come no more')
  assert.equal(await starts({ fits: false }), 0)
  assert.equal(await starts({ isOver: true }), 0)
  assert.equal(await starts({ isShort: true }), 0)
})
