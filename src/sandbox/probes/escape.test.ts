import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { describe, it } from 'node:test'
import { refusalOf } from '../pool-fixture.ts'
import type { DriverName } from '../types.ts'
import { isKnown, KNOWN_OF, keyOf, PROBES } from './catalogue.ts'
import { MEMORY_MB, probe, type Results, tableOf } from './escape.ts'

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

  for (const driver of ['runc', 'bwrap', 'gvisor'] as const) {
    it(`${driver}: nothing but what is known, and all of that`, async (test) => {
      const why = await refusalOf(driver)
      if (why !== null) return test.skip(why)
      const results = await probe(driver)
      assert.equal(results.size, PROBES.length)
      const found = [...results].filter(([one, seen]) => seen?.open && !isKnown(driver, one))
      assert.deepEqual(tell(found), [])
      // Another kernel than the host's tells nothing of the host.
      const told = (one: (typeof PROBES)[number]) => (driver === 'gvisor' ? KNOWN_OF.gvisor?.[keyOf(one)] !== undefined : isKnown(driver, one))
      const vanished = [...results].filter(([one, seen]) => seen !== null && !seen.open && told(one))
      assert.deepEqual(tell(vanished), [], 'what is said to be open is')
      const memory = [...results].find(([one]) => one.name === 'size of its memory')?.[1]
      if (driver !== 'gvisor') assert.equal(memory?.how, String(MEMORY_MB * 1024 * 1024), 'the function is told its own')
    })
  }

  it('process: without isolation the same probes find what they look for', async () => {
    const results = await probe('process')
    const missed = [...results].filter(([one, seen]) => one.plain === 'open' && !seen?.open)
    if (ROOT) assert.deepEqual(tell(missed), [])
    // An ordinary user has less to lose.
    else assert.ok([...results.values()].filter((seen) => seen?.open).length >= 30)
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
