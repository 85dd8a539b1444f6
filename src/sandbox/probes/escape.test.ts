import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { describe, it } from 'node:test'
import { refusalOf } from '../pool-fixture.ts'
import type { DriverName } from '../types.ts'
import { KNOWN_OF, keyOf, PROBES } from './catalogue.ts'
import { MEMORY_MB, placeOf, probe, type Results, strange, tableOf } from './escape.ts'

const ROOT = process.getuid?.() === 0
const skip = existsSync('/usr/bin/python3') ? false : 'the probes run by python3'
const tell = (rows: Iterable<readonly [(typeof PROBES)[number], { readonly open: boolean; readonly how: string } | null]>) =>
  [...rows].map(([one, seen]) => `${keyOf(one)} (${seen?.how})`)

describe('what code in a sandbox can reach', { skip }, () => {
  it('each door has one name, and there are enough of them', () => {
    const names = new Set(PROBES.map(keyOf))
    assert.equal(names.size, PROBES.length)
    assert.ok(PROBES.length >= 60)
    for (const rows of Object.values(KNOWN_OF)) for (const name of Object.keys(rows)) assert.ok(names.has(name), name)
  })

  // gVisor is tried by the command alone: its kernel takes its time.
  for (const driver of ['crun', 'runc', 'bwrap'] as const) {
    it(`${driver}: nothing but what is known, and all of that`, async (test) => {
      const why = await refusalOf(driver)
      if (why !== null) return test.skip(why)
      const results = await probe(driver)
      assert.equal(results.size, PROBES.length)
      assert.deepEqual(strange(driver, results), { open: [], shut: [] })
      const memory = [...results].find(([one]) => one.name === 'size of its memory')?.[1]
      assert.equal(memory?.how, String(MEMORY_MB * 1024 * 1024), 'the function is told its own')
    })
  }

  it('process: without isolation the same probes find what they look for', async () => {
    const results = await probe('process')
    const missed = [...results].filter(([one, seen]) => one.plain === 'open' && !seen?.open)
    if (ROOT) assert.deepEqual(tell(missed), [])
    // An ordinary user has less to lose.
    else assert.ok([...results.values()].filter((seen) => seen?.open).length >= 30)
  })

  it('a file is known to a mount by its place in its file system', () => {
    const mounts = '21 1 8:1 / / rw - ext4 a rw\n30 21 8:2 / /srv rw - ext4 b rw\n31 30 8:2 /inner /srv/at rw - ext4 b rw\n'
    const places = ['/opt/a', '/srv/a/b', '/srv/at/a', '/srv/attic', '/srv/at'].map((file) => placeOf(mounts, file))
    assert.deepEqual(places, ['/opt/a', '/a/b', '/inner/a', '/attic', '/inner'])
  })

  it('a door that opens is told, as is one that was said to be open', () => {
    const at = (known: boolean) => PROBES.find((one) => (one.known !== undefined) === known) as (typeof PROBES)[number]
    const seen = (open: boolean) => ({ open, how: 'tried' })
    const results = new Map([
      [at(false), seen(true)],
      [at(true), seen(false)],
    ])
    assert.deepEqual(strange('runc', results), { open: [`${keyOf(at(false))} (tried)`], shut: [`${keyOf(at(true))} (tried)`] })
  })

  it('the table names each probe, what is expected and what each driver showed', () => {
    const [first, second] = PROBES as [(typeof PROBES)[0], (typeof PROBES)[0]]
    const seen = new Map<DriverName, Results>([
      ['runc', new Map([[first, { open: false, how: 'EPERM' }]])],
      [
        'process',
        new Map([
          [first, { open: true, how: 'readable' }],
          [second, null],
        ]),
      ],
    ])
    const lines = tableOf(seen).split('\n')
    assert.equal(lines.length, PROBES.length + 1)
    assert.match(lines[0] ?? '', /^probe +expected +runc +process$/)
    assert.match(lines[1] ?? '', /^files: a file of the host +shut +shut EPERM +OPEN readable$/)
    assert.match(lines[2] ?? '', / +shut +not tried +not here$/)
  })
})
