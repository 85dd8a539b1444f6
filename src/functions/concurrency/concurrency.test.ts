import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../lib/clock.ts'
import { FunctionsWorld, PROJECT } from '../functions-fixture.ts'
import { Concurrency } from './concurrency.ts'

describe('Concurrency', () => {
  let world: FunctionsWorld
  let concurrency: Concurrency
  let told = 0
  const ids: Record<string, string> = {}
  before(async () => {
    world = await FunctionsWorld.open()
    concurrency = new Concurrency({ control: world.control, clock: systemClock, provisioningChanged: () => void told++ })
    for (const name of ['a', 'b']) {
      await world.deploy(name)
      ids[name] = (await world.functions.get(PROJECT, name)).id
    }
  })
  after(async () => {
    concurrency[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
  })
  const id = (name: string) => ids[name] as string
  const reserve = (name: string, reserved: number | null) => concurrency.reserve(PROJECT, id(name), reserved)
  const provision = (name: string, qualifier: string, requested: number) => concurrency.provision(PROJECT, id(name), qualifier, requested)
  const follow = (name: string, now: readonly [number | null, number], was: readonly [number | null, number] | null) => {
    const said = (pair: readonly [number | null, number]) => ({ reservedConcurrency: pair[0], provisioned: pair[1] })
    return world.control.transaction((tx) => concurrency.followIn(tx, PROJECT, id(name), said(now), was === null ? null : said(was)))
  }

  it('knows what is reserved, of each and of all, and reads it again when it hears of a change', async () => {
    await reserve('a', 7)
    await reserve('b', 0)
    assert.deepEqual([concurrency.of(id('a')), concurrency.of(id('b')), concurrency.total], [7, 0, 7])
    const other = new Concurrency({ control: world.control, clock: systemClock })
    await other.refresh()
    await other.reserve(PROJECT, id('a'), null)
    assert.equal(concurrency.of(id('a')), 7)
    await Promise.all([concurrency.refresh(), concurrency.refresh()])
    assert.equal(concurrency.of(id('a')), null)
    await reserve('b', null)
  })

  it('knows what is said of projects, and how many have functions', async () => {
    assert.deepEqual(
      [await concurrency.shareOf(PROJECT), concurrency.mostOf(PROJECT), concurrency.weightOf(PROJECT)],
      [{ concurrency: null, weight: 1 }, null, 1],
    )
    await concurrency.setShare(PROJECT, { concurrency: 5, weight: 7 })
    assert.deepEqual([concurrency.mostOf(PROJECT), concurrency.weightOf(PROJECT), concurrency.mostWeight, concurrency.projects], [5, 7, 7, 1])
    const other = new Concurrency({ control: world.control, clock: systemClock })
    await other.refresh()
    assert.deepEqual([other.mostOf(PROJECT), await other.shareOf(PROJECT)], [5, { concurrency: 5, weight: 7 }])
    await concurrency.setShare(PROJECT, { concurrency: null, weight: 1 })
    assert.deepEqual([concurrency.mostOf(PROJECT), concurrency.mostWeight], [null, 1])
  })

  it('leaves 100 (unreservedConcurrency) of 1000 (projectConcurrency) unreserved, also when two ask at once', async () => {
    const both = await Promise.allSettled([reserve('a', 500), reserve('b', 500)])
    assert.deepEqual(both.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
    await reserve('a', null)
    await reserve('b', null)
    await reserve('a', 900)
    await assert.rejects(reserve('b', 1), { code: 'bad_request', message: /minimum value of \[100\]/ })
    assert.deepEqual(await concurrency.account(PROJECT), { concurrent: 1000, unreserved: 100 })
    await reserve('a', null)
  })

  it('counts what is provisioned without a reservation against the rest', async () => {
    await provision('a', '1', 600)
    await assert.rejects(provision('b', '1', 301), { message: /minimum value of \[100\]/ })
    await assert.rejects(provision('b', '1', 401), { message: /greater than account's unreserved concurrency \[400\]/ })
    await assert.rejects(reserve('b', 301), { message: /minimum value of \[100\]/ })
    await assert.rejects(reserve('a', 599), { message: /should not be lower than function's total provisioned concurrency \[600\]/ })
    await reserve('a', 600)
    await assert.rejects(provision('a', '2', 1), { message: /should not be greater than the reservedConcurrentExecution/ })
    assert.equal(await concurrency.unprovision(PROJECT, id('a'), '1'), true)
    assert.equal(await concurrency.unprovision(PROJECT, id('a'), '1'), false)
    await reserve('a', null)
    assert.ok(told >= 2)
  })

  it('follows a definition where it says something else than before, and only there', async () => {
    const now = async () => [
      await concurrency.reservedOf(id('a')),
      (await concurrency.provisioned(id('a'))).map(({ qualifier, requested }) => [qualifier, requested]),
    ]
    await follow('a', [5, 5], null)
    assert.deepEqual(await now(), [5, [['$LATEST', 5]]])
    await follow('a', [2, 2], [5, 5])
    assert.deepEqual(await now(), [2, [['$LATEST', 2]]])
    await follow('a', [6, 6], [2, 2])
    await reserve('a', 8)
    await follow('a', [6, 1], [6, 6])
    assert.deepEqual(await now(), [8, [['$LATEST', 1]]], 'what was set by the API stays until the definition changes')
    await follow('a', [null, 0], [6, 1])
    assert.deepEqual(await now(), [null, []])
  })

  it('forgets what a deleted function had', async () => {
    await reserve('b', 900)
    await provision('b', '1', 10)
    await world.functions.delete(PROJECT, 'b')
    await reserve('a', 900)
    assert.deepEqual(await concurrency.allProvisioned(), [])
    assert.equal(concurrency.total, 900)
  })
})
