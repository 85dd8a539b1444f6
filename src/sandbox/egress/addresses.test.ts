import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isNeverReached } from '../../core/egress.ts'
import { AddressBook, overlap, sharesFor } from './addresses.ts'
import { GATEWAY } from './rules.ts'

describe('addresses of sandboxes', () => {
  it('come from shares that do not meet, hold no gateway of anybody, and are reached by no sandbox', () => {
    const shares = sharesFor('0123456789ab')
    assert.equal(shares.length, 31)
    for (const [i, { subnet, host, router }] of shares.entries()) {
      assert.ok(!overlap(subnet, GATEWAY), subnet)
      for (const address of [host, router]) assert.ok(overlap(subnet, address) && isNeverReached(address), address)
      for (const other of shares.slice(i + 1)) assert.ok(!overlap(subnet, other.subnet), subnet)
    }
    assert.notEqual(sharesFor('0123456789ab')[0]?.subnet, sharesFor('0123456789ac')[0]?.subnet)
    assert.ok(overlap('10.0.0.0/8', '10.255.255.255') && !overlap('10.0.0.0/8', '11.0.0.0/8') && overlap('0.0.0.0/0', '1.2.3.4'))
  })
  it('are taken once each, and the one given back first is the first to come again when all were taken', () => {
    const share = sharesFor('0123456789ab')[0] as ReturnType<typeof sharesFor>[number]
    const book = new AddressBook(share)
    const all: string[] = []
    for (let address = book.take(); address !== null; address = book.take()) all.push(address)
    assert.equal(new Set(all).size, all.length)
    assert.ok(all.length > 4_000 && all.every((address) => overlap(share.subnet, address)))
    assert.ok(!all.includes(share.host) && !all.includes(share.router))
    for (const address of [all[5], all[3]] as string[]) book.giveBack(address)
    assert.deepEqual([book.take(), book.take(), book.take()], [all[5], all[3], null])
  })
})
