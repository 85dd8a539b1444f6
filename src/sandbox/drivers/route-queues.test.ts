import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { describe, it } from 'node:test'
import { LIMITS } from '../../core/limits.ts'
import { PoolFixture, refusalOf } from '../pool-fixture.ts'
import { queuedBytes } from './route-queues.ts'

/** What one that is full holds. */
const QUEUE_BYTES = 200 * 1024
// Asks for what there is not, and reads no answer: as many sockets as it may have, in as many programs.
const GREEDY = `
const { spawn } = require('node:child_process')
const PROGRAM = \`
import errno, socket, struct, time
ask, kept = struct.pack('=IHHII', 16, 99, 5, 1, 0) * 200, []
for i in range(COUNT):
    one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    one.setblocking(False)
    kept.append(one)
    try:
        for k in range(40): one.send(ask)
    except OSError: pass
time.sleep(SECONDS)
\`
exports.handler = ({ count, seconds }) => new Promise((resolve) => spawn('/usr/bin/python3', ['-c', PROGRAM.replace('COUNT', count).replace('SECONDS', seconds)]).on('exit', resolve))`

describe('answers of the kernel that nobody reads', { skip: existsSync('/usr/bin/python3') ? false : 'needs python3' }, () => {
  for (const driver of ['runc', 'bwrap'] as const) {
    it(`${driver}: a few are held, and too many end the sandbox`, async (test) => {
      const why = await refusalOf(driver)
      if (why !== null) return test.skip(why)
      await using world = new PoolFixture(driver, { greedy: GREEDY })
      await world.openFirst()
      assert.equal((await world.call(world.specOf('greedy'), { count: 20, seconds: 0.4 })).value, 0)
      const { value } = await world.call(world.specOf('greedy', { timeoutMs: 60_000 }), {
        count: Math.ceil((5.5 * LIMITS.routeQueues.value) / QUEUE_BYTES),
        seconds: 60,
      })
      assert.match(value.errorMessage, /signal: killed$/)
    })
  }

  it('of a process that is gone nothing waits', () => {
    assert.equal(queuedBytes(0x7fffffff), 0)
    assert.ok(Number.isFinite(queuedBytes(process.pid)))
  })
})
