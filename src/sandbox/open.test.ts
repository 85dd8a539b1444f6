import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { describe, it } from 'node:test'
import { MayflyError } from '../core/errors.ts'
import { silentLog } from '../core/log.ts'
import { systemClock } from '../lib/clock.ts'
import type { SandboxConfig } from './config.ts'
import { openSandboxes } from './open.ts'

describe('a machine that cannot isolate', () => {
  it('has sandboxes that say at every call why there are none and what to do', async () => {
    const driver = { why: 'runc is not installed', todo: 'Type this.' }
    await using sandboxes = await openSandboxes({
      config: {} as SandboxConfig,
      driver,
      data: tmpdir(),
      clock: systemClock,
      log: silentLog,
      knownBefore: () => false,
      shares: { projects: () => 1, weightOf: () => 1 },
      machineMemory: async () => ({ totalMb: 1, availableMb: 1, stalledPercent: null }),
    })
    await assert.rejects(
      sandboxes.acquire({} as never, {} as never, new AbortController().signal),
      (error) => error instanceof MayflyError && error.code === 'sandbox_unavailable' && /runc is not installed\. Type this\./.test(error.message),
    )
    assert.equal((await sandboxes.build({} as never)).ok, false)
    assert.deepEqual(sandboxes.status().missing, [{ what: 'functions', ...driver }])
  })
})
