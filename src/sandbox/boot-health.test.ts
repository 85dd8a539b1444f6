import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Log } from '../core/log.ts'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { BootHealth } from './boot-health.ts'
import type { DriverName, RuntimeName } from './types.ts'

const by = (runtime: RuntimeName, driver: DriverName | null = null) => ({ runtime, driver })

function standing() {
  const clock = new VirtualClock()
  const said: string[] = []
  const say = (level: string) => (fields: Readonly<Record<string, unknown>>, message: string) =>
    void said.push(`${level} ${message} ${fields['error'] ?? ''}`.trim())
  const log: Log = { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') }
  return { clock, said, health: new BootHealth(clock, log) }
}

test('calls try it themselves until three starts in a row have failed; then they are told at once, but when a pause is over', async () => {
  const { clock, health } = standing()
  const fail = async () => {
    const from = clock.monotonic()
    await clock.pass(10)
    health.failed(by('python3.x'), 'no such file', from)
  }
  await fail()
  health.check(by('python3.x'))
  await fail()
  health.check(by('python3.x'))
  assert.deepEqual(health.problems(), [])
  await fail()
  assert.throws(() => health.check(by('python3.x')), { code: 'sandbox_unavailable', message: /python3\.x do not start; it is tried again in 2 s/ })
  health.check(by('nodejs24.x'))
  assert.equal(health.pauseMs(by('nodejs24.x')), 0)
  assert.match(JSON.stringify(health.problems()), /runtime python3\.x.*do not start: no such file/)
  await clock.pass(2_000)
  health.check(by('python3.x'))
  health.worked(by('python3.x'))
  assert.deepEqual([health.problems(), health.pauseMs(by('python3.x'))], [[], 0])
})

test('a driver that makes none is told by its name, and takes nothing from functions of another', async () => {
  const { clock, health } = standing()
  for (let n = 0; n < 3; n++) {
    health.failed(by('nodejs24.x', 'gvisor'), 'no platform', clock.monotonic())
    health.worked(by('nodejs24.x'))
    await clock.pass(10)
  }
  health.check(by('nodejs24.x'))
  assert.equal(health.pauseMs(by('nodejs24.x')), 0)
  assert.throws(() => health.check(by('nodejs24.x', 'gvisor')), /sandboxes of nodejs24\.x by gvisor do not start/)
  assert.deepEqual(
    health.problems().map(({ what }) => what),
    ['runtime nodejs24.x by gvisor'],
  )
})

test('what whoever calls may know is said instead of where to look', () => {
  const { clock, health } = standing()
  for (let n = 0; n < 3; n++) health.failed(by('nodejs24.x', 'gvisor'), 'not here', clock.monotonic(), 'this node has no driver `gvisor`')
  assert.throws(() => health.check(by('nodejs24.x', 'gvisor')), { code: 'sandbox_unavailable', message: 'this node has no driver `gvisor`' })
})

test('starts that were under way together fail once', () => {
  const { health } = standing()
  for (let n = 0; n < 8; n++) health.failed(by('provided'), 'x', -1)
  health.check(by('provided'))
  assert.equal(health.pauseMs(by('provided')), 500)
})

test('what changes is told once', async () => {
  const { clock, said, health } = standing()
  for (let n = 0; n < 20; n++) {
    health.failed(by('provided'), n < 15 ? 'one reason' : 'another', clock.monotonic())
    await clock.pass(60_000)
  }
  health.worked(by('provided'))
  health.worked(by('provided'))
  assert.deepEqual(said, [
    'error a sandbox did not start one reason',
    'error sandboxes of a runtime do not start; it is tried again, every 30 s at last one reason',
    'error a sandbox did not start another',
    'info sandboxes of a runtime start again',
  ])
})
