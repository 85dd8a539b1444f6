import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { lackingInside } from './trial.ts'

const TOLD = {
  Uid: '1000\t1000\t1000\t1000',
  CapInh: '0000000000000000',
  CapPrm: '0000000000000000',
  CapEff: '0000000000000000',
  CapBnd: '0000000000000000',
  CapAmb: '0000000000000000',
  NoNewPrivs: '1',
  Seccomp: '2',
  Map: '         0  536870912      65536',
}
const lacking = (changes: Partial<Record<keyof typeof TOLD, string>> = {}) =>
  lackingInside(
    `Name:\tnode\n${Object.entries({ ...TOLD, ...changes })
      .map(([name, value]) => `${name}:\t${value}\n`)
      .join('')}over`,
  )

describe('what a sandbox that is tried says of itself', () => {
  it('is all that each has', () => assert.deepEqual(lacking(), []))

  const rows: readonly [string, Parameters<typeof lacking>[0], string][] = [
    ['without a filter', { Seccomp: '0' }, 'our list of system calls'],
    ['with the strict mode of old', { Seccomp: '1' }, 'our list of system calls'],
    ['that could gain privileges', { NoNewPrivs: '0' }, 'no_new_privs'],
    ['with a capability to be had', { CapBnd: '0000000000000400' }, 'an empty CapBnd'],
    ['with one in force', { CapEff: '000001ffffffffff' }, 'an empty CapEff'],
    ['as root inside', { Uid: '0\t0\t0\t0' }, 'the user inside'],
    ['that was root a moment ago', { Uid: '1000\t1000\t0\t1000' }, 'the user inside'],
    ['with the ids of the host', { Map: '         0          0 4294967295' }, 'user ids of its own'],
    ['whose root is the host’s', { Map: '         0          0      65536' }, 'user ids of its own'],
    ['of which nothing is known', { Map: '' }, 'user ids of its own'],
  ]
  for (const [name, changes, what] of rows) it(`${name} is refused`, () => assert.deepEqual(lacking(changes), [what]))

  it('nothing at all is refused', () => assert.equal(lackingInside('over').length, 9))
})
