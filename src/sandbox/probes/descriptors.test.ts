import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { describe, it } from 'node:test'
import { PoolFixture, refusalOf } from '../pool-fixture.ts'

// Hands descriptors of its own over with its frames: a program of it has descriptor 3, and says log frames of no bytes.
const SENDER = `
const { spawnSync } = require('node:child_process')
const PROGRAM = \`
import socket, sys
way, sent = socket.socket(fileno=3), 0
for i in range(200):
    try:
        socket.send_fds(way, [bytes([0, 0, 0, 0, 11, 4, 0, 0, 0, 0, 0, 0])], [0, 1, 2, 3])
        sent += 1
    except OSError: pass
print(sent)
\`
exports.handler = async () => Number(spawnSync('/usr/bin/python3', ['-c', PROGRAM], { stdio: ['ignore', 'pipe', 'inherit', 3], encoding: 'utf8' }).stdout)`

/** How many descriptors this process has; the pool, which refills meanwhile, needs some. */
const count = () => readdirSync('/proc/self/fd').length
const SOME = 50

describe('descriptors that a guest hands over', { skip: existsSync('/usr/bin/python3') ? false : 'needs python3' }, () => {
  for (const driver of ['runc', 'bwrap'] as const) {
    it(`${driver}: none is taken, and the call goes on`, async (test) => {
      const why = await refusalOf(driver)
      if (why !== null) return test.skip(why)
      await using world = new PoolFixture(driver, { sender: SENDER })
      await world.openFirst()
      await world.call(world.specOf('sender'))
      const before = count()
      const { value } = await world.call(world.specOf('sender'))
      assert.ok(value > 100, `${value} sent`)
      assert.ok(count() < before + SOME, `${before} before, ${count()} after`)
    })
  }
})
