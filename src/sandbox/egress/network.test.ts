import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SimulatedClock } from '../../lib/simulated-clock.ts'
import type { Links } from './links.ts'
import { Network } from './network.ts'

/** What of the rules is open, and how often a program was started for that. */
class FakeLinks {
  readonly open = new Set<string>()
  changes = 0
  /** The next change is made, and nobody is told so: who runs programs has ended. */
  isLost = false
  pathOf = () => '/nowhere/namespace'
  entranceOf = () => []
  statisticsOf = () => '/nowhere/statistics'
  change(how: 'add' | 'delete', elements: readonly { readonly set: string; readonly element: string }[]): Promise<void> {
    this.changes++
    for (const { set, element } of elements) {
      const one = `${set} ${element}`
      assert.equal(this.open.has(one), how === 'delete', `${how} ${one}`)
      this.open[how](one)
    }
    if (!this.isLost) return Promise.resolve()
    this.isLost = false
    return Promise.reject(new Error('nft -f -: SIGKILL'))
  }
}

function listed(hosts: readonly string[] = ['api.example.com']) {
  const links = new FakeLinks()
  const clock = new SimulatedClock()
  const network = new Network(7, '198.18.16.20', links as unknown as Links, clock, () => Promise.resolve())
  // The kernel's file is not there: its rules are what is looked at.
  const granted = network.grant({ mode: 'hosts', hosts }, () => {}).catch(() => {})
  return { links, clock, network, granted }
}
const addresses = (from: number, count: number, seconds = 60) =>
  Array.from({ length: count }, (_, i) => ({ address: `11.${(from + i) >> 16}.${((from + i) >> 8) & 255}.${(from + i) & 255}`, seconds }))

describe('what an allow-list opens', () => {
  it('is opened at once for an answer, shut when nobody has resolved it for long, and all shut at the end', async () => {
    const { links, clock, network, granted } = listed(['api.example.com', '93.184.216.34:443'])
    await granted
    await network.open(addresses(0, 20), [443, 8443])
    assert.deepEqual([links.changes, links.open.size], [2, 41])
    await network.open(addresses(0, 20), [443])
    assert.equal(links.changes, 2, 'it was open')
    clock.advance(301_000)
    await network.expire()
    assert.deepEqual([...links.open], ['listed "v7" . 93.184.216.34 . 443'])
    await network.open(addresses(3, 1), [null])
    await network.release()
    assert.equal(links.open.size, 0)
  })

  it('is shut again where it was opened and nobody is told so, and opened when it is asked for once more', async () => {
    const { links, network, granted } = listed()
    await granted
    links.isLost = true
    await assert.rejects(network.open(addresses(0, 2), [443]), /SIGKILL/)
    assert.equal(links.open.size, 0)
    await network.open(addresses(0, 2), [443])
    assert.equal(links.open.size, 2)
    await network.release()
    assert.equal(links.open.size, 0)
  })

  it('is bounded, whatever who answers for a listed name says: the oldest make room, and what the list itself names stays', async () => {
    const { links, clock, network, granted } = listed(['*.evil.example', '93.184.216.34:443'])
    await granted
    for (let i = 0; i < 60; i++) {
      await network.open(addresses(i * 256, 256, 86_400), [null])
      clock.advance(1_000)
    }
    assert.equal(links.open.size, 1_024)
    assert.ok(links.open.has('listed "v7" . 93.184.216.34 . 443'))
    assert.ok(links.open.has('anyport "v7" . 11.0.59.255') && !links.open.has('anyport "v7" . 11.0.0.0'))
    // More in one answer than may be open at all.
    const ports = Array.from({ length: 90 }, (_, port) => port + 1_000)
    await network.open(addresses(100_000, 256), ports)
    assert.equal(links.open.size, 1_024)
    assert.ok(links.open.has('listed "v7" . 11.1.134.160 . 1000'))
    await network.release()
    assert.equal(links.open.size, 0)
  })

  it('starts few programs of the host for names that are resolved to others each time', async () => {
    const { links, clock, network } = listed()
    let refused = 0
    const ask = async (from: number) => await network.open(addresses(from, 1), [443]).catch(() => refused++)
    for (let i = 0; i < 500; i++) await ask(i)
    assert.ok(links.changes <= 64 && refused >= 436, `${links.changes} ${refused}`)
    clock.advance(1_000)
    const before = links.changes
    for (let i = 0; i < 500; i++) await ask(1_000 + i)
    assert.equal(links.changes - before, 8)
    // What is open is no work.
    await network.open(addresses(0, 1), [443])
  })
})
