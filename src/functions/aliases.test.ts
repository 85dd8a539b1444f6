import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { FunctionsWorld, PROJECT } from './functions-fixture.ts'

let world: FunctionsWorld
before(async () => {
  world = await FunctionsWorld.open()
  await world.publish('f', 4)
})
after(async () => await world?.[Symbol.asyncDispose]())

const resolve = async (qualifier: string) => (await world.functions.resolve(PROJECT, 'f', qualifier)).version
const { create, update, get, list, rollback, remove } = {
  create: async (name: string, version: string, more = {}) => await world.functions.aliases.create(PROJECT, 'f', name, { version, ...more }),
  update: async (name: string, change: object, revisionId: string | null = null) =>
    await world.functions.aliases.update(PROJECT, 'f', name, change, revisionId),
  get: async (name: string) => await world.functions.aliases.get(PROJECT, 'f', name),
  list: async (version: string | null = null) => (await world.functions.aliases.list(PROJECT, 'f', version, '', 100)).map((one) => one.name),
  rollback: async (name: string) => (await world.functions.aliases.rollback(PROJECT, 'f', name)).version,
  remove: async (name: string) => await world.functions.aliases.delete(PROJECT, 'f', name),
}

describe('aliases', () => {
  it('name a version until they are given another', async () => {
    const made = await create('moves', '1', { description: 'd' })
    assert.deepEqual([made.version, made.other, made.description, await resolve('moves')], ['1', null, 'd', '1'])
    const moved = await update('moves', { version: '2' })
    assert.deepEqual([moved.description, await resolve('moves')], ['d', '2'])
    assert.notEqual(moved.revisionId, made.revisionId)
    await assert.rejects(update('moves', { version: '1' }, made.revisionId), { code: 'revision_mismatch' })
    await update('moves', { version: '$LATEST' }, moved.revisionId)
    assert.equal(await resolve('moves'), '$LATEST')
    await remove('moves')
    await assert.rejects(resolve('moves'), { code: 'function_not_found' })
    await assert.rejects(remove('moves'), { code: 'alias_not_found' })
  })

  it('a share of the calls goes to another version', async () => {
    await create('shared', '1', { other: { version: '2', weight: 0.25 } })
    world.fractions = [0, 0.2499, 0.25, 0.99]
    assert.deepEqual([await resolve('shared'), await resolve('shared'), await resolve('shared'), await resolve('shared')], ['2', '2', '1', '1'])
    assert.deepEqual((await update('shared', { description: 'kept' })).other, { version: '2', weight: 0.25 })
    world.fractions = []
    await update('shared', { other: null })
    assert.equal(await resolve('shared'), '1')
    await update('shared', { other: { version: '2', weight: 1 } })
    world.fractions = [0.999999]
    assert.equal(await resolve('shared'), '2')
    await assert.rejects(update('shared', { version: '2' }), { code: 'bad_request', message: /^Invalid function version 2\./ })
    await assert.rejects(update('shared', { version: '$LATEST' }), { code: 'bad_request', message: /^\$LATEST is not supported/ })
    await assert.rejects(update('shared', { other: { version: '9', weight: 0.5 } }), { code: 'version_not_found' })
    await assert.rejects(update('shared', { other: { version: '2', weight: Number.NaN } }), { code: 'bad_request' })
  })

  it('are listed in the order of their names, also by the version that they name', async () => {
    await create('z', '3')
    await create('A', '4', { other: { version: '3', weight: 0 } })
    await create('l', '$LATEST')
    assert.deepEqual(await list(), ['A', 'l', 'shared', 'z'])
    assert.deepEqual([await list('3'), await list('$LATEST'), await list('77'), await list('no')], [['A', 'z'], ['l'], [], []])
  })

  it('refuses names and versions that are none', async () => {
    await assert.rejects(create('z', '1'), { code: 'alias_exists' })
    for (const name of ['1', '', 'a b', 'a:b', '$LATEST', 'x'.repeat(129), 'é']) await assert.rejects(create(name, '1'), { code: 'bad_request' }, name)
    for (const version of ['9', '01', 'z', '']) await assert.rejects(create('new', version), { code: 'version_not_found' }, version)
    await assert.rejects(get('no\0'), { code: 'alias_not_found' })
    await assert.rejects(world.functions.aliases.get(PROJECT, 'no', 'z'), { code: 'function_not_found' })
  })

  it('go back the way they came, past versions that are gone', async () => {
    await create('back', '1')
    for (const version of ['2', '3', '4']) await update('back', { version })
    await update('back', { other: { version: '1', weight: 0.5 } })
    assert.equal(await rollback('back'), '3')
    assert.equal((await get('back')).other, null, 'all calls')
    for (const alias of ['z', 'A']) await remove(alias)
    await world.functions.versions.delete(PROJECT, 'f', 2).catch((error: Error) => assert.match(error.message, /shared/))
    await remove('shared')
    await world.functions.versions.delete(PROJECT, 'f', 2)
    assert.equal(await rollback('back'), '1')
    await assert.rejects(rollback('back'), { code: 'nothing_before' })
    assert.equal(await resolve('back'), '1')
  })

  it('are the project’s own: no other one sees, moves or calls them', async () => {
    await create('own', '4')
    const other = 'two' as typeof PROJECT
    for (const work of [
      () => world.functions.resolve(other, 'f', 'own'),
      () => world.functions.resolve(other, 'f', '4'),
      () => world.functions.aliases.get(other, 'f', 'own'),
      () => world.functions.aliases.update(other, 'f', 'own', { version: '1' }),
      () => world.functions.aliases.rollback(other, 'f', 'own'),
      () => world.functions.aliases.delete(other, 'f', 'own'),
      () => world.functions.versions.publish(other, 'f'),
      () => world.functions.versions.delete(other, 'f', 4),
      () => world.functions.promote(other, 'f', 'own', null),
    ])
      await assert.rejects(work(), { code: 'function_not_found' })
    assert.equal(await resolve('own'), '4')
  })

  it('a version that an alias comes to name is not deleted beneath it', async () => {
    const [made, deleted] = await Promise.allSettled([create('late', '3'), world.functions.versions.delete(PROJECT, 'f', 3)])
    assert.notEqual(made.status, deleted.status, 'one of them wins')
    if (made.status === 'fulfilled') assert.equal(await resolve('late'), '3')
  })

  it('of two changes at once one wins', async () => {
    await create('raced', '1')
    const changes = await Promise.allSettled(['a', 'b', 'c'].map((description) => update('raced', { description })))
    for (const change of changes) if (change.status === 'rejected') assert.equal(change.reason.code, 'function_changing')
    assert(changes.some((change) => change.status === 'fulfilled'))
  })

  it('are at most functionAliases', async () => {
    const { id } = await world.functions.get(PROJECT, 'f')
    await world.control.sql`
      insert into mayfly.function_alias (function_id, name, version, revision_id)
      select ${id}::uuid, 'many-' || n, 1, ${randomUUID()}::uuid from generate_series(1, ${LIMITS.functionAliases.value - 1}::int) n on conflict do nothing`
    await assert.rejects(create('too-many', '1'), { code: 'too_many_aliases' })
  })
})
