import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { describe, it } from 'node:test'
import type { DriverName } from '../types.ts'
import { PROBES } from './catalogue.ts'
import { keyOf, MEMORY_MB, probe, type Results, tableOf } from './escape.ts'

const ROOT = process.getuid?.() === 0
const skip = existsSync('/usr/bin/python3') ? false : 'the probes run by python3'
const open = (results: Results) => [...results].flatMap(([one, seen]) => (seen?.open ? [`${keyOf(one)} (${seen.how})`] : []))

describe('what code in a sandbox can reach', { skip }, () => {
  it('each door has one name, and there are enough of them', () => {
    assert.equal(new Set(PROBES.map(keyOf)).size, PROBES.length)
    assert.ok(PROBES.length >= 60)
  })

  it('runc: nothing but what is known', { skip: ROOT ? false : 'runc takes root' }, async () => {
    const results = await probe('runc')
    assert.equal(results.size, PROBES.length)
    const known = new Set(PROBES.filter((one) => one.known !== undefined))
    const strange = [...results].filter(([one, seen]) => (seen?.open ?? known.has(one)) !== known.has(one))
    assert.deepEqual(open(new Map(strange)), [])
    assert.deepEqual(
      strange.map(([one]) => keyOf(one)),
      [],
      'what is said to be open is',
    )
    const memory = [...results].find(([one]) => one.name === 'size of its memory')?.[1]
    assert.equal(memory?.how, String(MEMORY_MB * 1024 * 1024), 'the function is told its own')
  })

  it('process: without isolation the same probes find what they look for', async () => {
    const results = await probe('process')
    const missed = [...results].filter(([one, seen]) => one.plain === 'open' && !seen?.open).map(([one, seen]) => `${keyOf(one)} (${seen?.how})`)
    if (ROOT) assert.deepEqual(missed, [])
    // An ordinary user has less to lose.
    else assert.ok(open(results).length >= 30, `${open(results).length} found`)
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
