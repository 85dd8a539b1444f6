import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { FunctionsWorld, PROJECT } from '../functions-fixture.ts'
import { type Kept, keptOf, type Target, targetsOf } from './targets.ts'

describe('what a qualifier has provisioned', () => {
  let world: FunctionsWorld
  before(async () => {
    world = await FunctionsWorld.open()
    for (const value of [1, 2]) {
      await world.deploy('f', value)
      await world.functions.versions.publish(PROJECT, 'f')
    }
    await world.functions.aliases.create(PROJECT, 'f', 'whole', { version: '2' })
    await world.functions.aliases.create(PROJECT, 'f', 'shared', { version: '1', other: { version: '2', weight: 0.25 } })
  })
  after(() => world[Symbol.asyncDispose]())

  const counts = async (qualifier: string, requested: number) =>
    (await targetsOf(world.functions, PROJECT, 'f', { qualifier, requested })).map(({ record, count }) => [record.version, count])

  it('is of the version that it names, or by weight of the two that an alias names', async () => {
    assert.deepEqual(await counts('1', 3), [['1', 3]])
    assert.deepEqual(await counts('$LATEST', 3), [['$LATEST', 3]])
    assert.deepEqual(await counts('whole', 3), [['2', 3]])
    assert.deepEqual(await counts('shared', 8), [
      ['1', 6],
      ['2', 2],
    ])
    assert.deepEqual(await counts('shared', 1), [['1', 1]], 'a share that comes to none has none')
  })
  it('is nothing where the qualifier names nothing', async () => {
    for (const nothing of ['7', '007', 'nobody', '\0']) assert.deepEqual(await counts(nothing, 1), [])
  })
  it('is ready when all of it is, and failed when one is', async () => {
    const targets: Target[] = await targetsOf(world.functions, PROJECT, 'f', { qualifier: 'shared', requested: 8 })
    const [first, second] = targets.map(({ record }) => record.versionId)
    const told = (one: Kept | null, two: Kept | null) => keptOf(targets, (id) => (id === first ? one : id === second ? two : null))
    const ready = (requested: number): Kept => ({ requested, available: requested, status: 'READY', reason: null })
    assert.deepEqual(told(ready(6), ready(2)), { available: 8, status: 'READY', reason: null })
    assert.deepEqual(told(ready(6), ready(1)), { available: 7, status: 'IN_PROGRESS', reason: null })
    assert.deepEqual(told(ready(6), null), { available: 6, status: 'IN_PROGRESS', reason: null })
    assert.deepEqual(told(ready(9), { requested: 2, available: 0, status: 'FAILED', reason: 'why' }), { available: 6, status: 'FAILED', reason: 'why' })
  })
})
