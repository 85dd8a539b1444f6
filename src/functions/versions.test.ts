import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { FunctionsWorld, PROJECT } from './functions-fixture.ts'

let world: FunctionsWorld
before(async () => {
  world = await FunctionsWorld.open()
})
after(async () => await world?.[Symbol.asyncDispose]())

const publish = async (name: string, how = {}) => await world.functions.versions.publish(PROJECT, name, how)
const numbers = async (name: string) => (await world.functions.versions.list(PROJECT, name, { name: '', number: -1 }, 100)).map((one) => one.version)

describe('the functions of an app of another cloud', () => {
  it('are compiled once: those that are made at once wait for the first', async () => {
    const before = world.built.length
    await Promise.all(['app-a', 'app-b', 'app-c'].map((name) => world.deploy(name, 'app', { framework: 'azure' })))
    const [first, second, ...rest] = world.built.slice(before)
    assert.deepEqual([first?.like, second?.like, rest.map(({ like }) => like)], [null, first?.version.id, [second?.version.id]])
    for (const [name, code, framework] of [
      ['app-d', 'other code', 'azure'],
      ['app-e', 'app', 'google'],
      ['plain-a', 'app', null],
      ['plain-b', 'app', null],
    ] as const) {
      await world.deploy(name, code, { framework })
      assert.equal(world.built.at(-1)?.like, null, name)
    }
  })
})

describe('published versions', () => {
  it('keep code, environment and settings of the moment, in a build of their own', async () => {
    await world.deploy('keeps', 'old', { environment: { COLOUR: 'red' }, memory: 256 })
    const latest = await world.functions.get(PROJECT, 'keeps')
    const { record, created } = await publish('keeps', { description: 'the first' })
    assert.equal(created, true)
    assert.deepEqual([record.version, record.definition.description, record.definition.memoryMb], ['1', 'the first', 256])
    assert.notEqual(record.versionId, latest.versionId)
    assert.deepEqual(world.built.at(-1)?.like, latest.versionId, 'the compile cache of $LATEST may serve')
    assert.equal(world.built.at(-1)?.version.version, '1')

    await world.deploy('keeps', 'new', { environment: { COLOUR: 'blue' } })
    const first = await world.functions.resolve(PROJECT, 'keeps', '1')
    assert.deepEqual([first.version, first.environment, first.definition.memoryMb], ['1', { COLOUR: 'red' }, 256])
    assert.match(await readFile(join(first.codeDir, 'index.js'), 'utf8'), /old/)
    assert.equal(await world.functions.resolve(PROJECT, 'keeps', '1'), first)
    const now = await world.functions.resolve(PROJECT, 'keeps', '$LATEST')
    assert.deepEqual([now.version, now.environment], ['$LATEST', { COLOUR: 'blue' }])
    await assert.rejects(world.control.sql`update mayfly.function_version set code_bytes = 1 where id = ${record.versionId}`, /never changes/)
  })

  it('the same again is the same version, whatever it is called; any change makes the next one', async () => {
    await world.deploy('same', 1, { environment: { A: '1', B: '2' } })
    assert.equal((await publish('same')).record.version, '1')
    const again = await publish('same', { description: 'other words' })
    assert.deepEqual([again.created, again.record.version, again.record.definition.description], [false, '1', ''])
    await world.deploy('same', 1, { environment: { B: '2', A: '1' } })
    assert.equal((await publish('same')).created, false, 'the order of variables is no difference')
    await world.deploy('same', 1, { environment: { B: '2', A: '1' }, reservedConcurrency: 5 })
    assert.equal((await publish('same')).created, false, 'reserved concurrency is not of a version')
    await world.deploy('same', 1, { environment: { B: '2', A: '1' }, description: 'other' })
    assert.equal((await publish('same')).record.version, '2')
    await world.deploy('same', 2, { environment: { B: '2', A: '1' }, description: 'other' })
    assert.equal((await publish('same')).record.version, '3')
  })

  it('is refused when the revision or the code is another', async () => {
    await world.deploy('guarded')
    const { revisionId, artefact } = await world.functions.get(PROJECT, 'guarded')
    await assert.rejects(publish('guarded', { revisionId: randomUUID() }), { code: 'revision_mismatch' })
    for (const other of ['f'.repeat(64), '']) await assert.rejects(publish('guarded', { artefact: other }), { code: 'code_mismatch' })
    await assert.rejects(publish('no-such'), { code: 'function_not_found' })
    assert.equal((await publish('guarded', { revisionId, artefact })).record.version, '1')
    assert.notEqual((await world.functions.get(PROJECT, 'guarded')).revisionId, revisionId, 'publishing changes that of $LATEST')
  })

  it('a number is never given twice, and goes only when no alias names it', async () => {
    await world.publish('numbers', 3)
    assert.deepEqual(await numbers('numbers'), ['$LATEST', '1', '2', '3'])
    await world.functions.aliases.create(PROJECT, 'numbers', 'live', { version: '2', other: { version: '1', weight: 0.1 } })
    for (const number of [1, 2])
      await assert.rejects(world.functions.versions.delete(PROJECT, 'numbers', number), { code: 'version_in_use', message: /\[live\]$/ })
    const { versionId } = await world.functions.get(PROJECT, 'numbers', '3')
    await world.functions.versions.delete(PROJECT, 'numbers', 3)
    assert(world.retired.includes(versionId))
    await assert.rejects(world.functions.resolve(PROJECT, 'numbers', '3'), { code: 'function_not_found' })
    await assert.rejects(world.functions.versions.delete(PROJECT, 'numbers', 3), { code: 'function_not_found' })
    assert.equal((await publish('numbers')).record.version, '4', 'also when nothing changed since the deleted one')
    assert.deepEqual(await numbers('numbers'), ['$LATEST', '1', '2', '4'])
  })

  it('of many publishings at once each gets a number of its own or the same version', async () => {
    await world.deploy('many')
    const all = await Promise.all([1, 2, 3, 4].map(() => publish('many')))
    assert.deepEqual(new Set(all.map(({ record }) => record.version)), new Set(['1']))
    assert.equal(all.filter(({ created }) => created).length, 1)
    assert.deepEqual(await numbers('many'), ['$LATEST', '1'])
  })

  it('the sweep leaves what a published version names; the function takes its versions along', async () => {
    await world.deploy('swept', 'kept code')
    const { record } = await publish('swept')
    await world.deploy('swept', 'other code')
    await world.functions.sweep(0)
    assert.equal(await world.artefacts.has(PROJECT, record.artefact), true)
    world.functions.invalidate(PROJECT, 'swept')
    assert.equal((await world.functions.resolve(PROJECT, 'swept', '1')).id, record.versionId)
    await world.functions.aliases.create(PROJECT, 'swept', 'live', { version: '1' })
    await world.functions.delete(PROJECT, 'swept')
    assert(world.retired.includes(record.versionId))
    await assert.rejects(world.functions.resolve(PROJECT, 'swept', 'live'), { code: 'function_not_found' })
    await world.functions.sweep(0)
    assert.equal(await world.artefacts.has(PROJECT, record.artefact), false)
    await world.deploy('swept', 'kept code')
    assert.equal((await publish('swept')).record.version, '1', 'a function of the same name begins anew')
  })

  it('code that does not load takes no calls from code that does', async () => {
    await world.deploy('steady', 'good')
    const good = await world.functions.get(PROJECT, 'steady')
    world.fault = { type: 'Runtime.ImportModuleError', message: "Cannot find module 'x'\0" }
    await assert.rejects(world.deploy('steady', 'broken'), { code: 'version_broken', message: /Runtime\.ImportModuleError: Cannot find module 'x'/ })
    assert.equal(world.started.at(-1)?.instead?.id, good.versionId)
    const refused = await world.functions.update(PROJECT, 'steady', { definition: { handler: 'index.other' } }, null)
    assert.deepEqual([refused.versionId, refused.definition.handler], [good.versionId, 'index.handler'])
    assert.equal(refused.refused?.code, 'FunctionError.RuntimeInitError')
    assert.notEqual(refused.revisionId, good.revisionId)
    assert(world.retired.includes(world.started.at(-1)?.version.id ?? ''), 'what was started for it goes')
    assert(!world.retired.includes(good.versionId))
    assert.equal((await world.functions.resolve(PROJECT, 'steady')).id, good.versionId)
    await assert.rejects(world.deploy('steady', 'broken', { reservedConcurrency: 0, provisioned: 3 }), { code: 'version_broken' })
    assert.deepEqual(
      [await world.concurrency.reservedOf(good.id), await world.concurrency.provisioned(good.id)],
      [null, []],
      'what was said beside code that does not load holds no more than that code',
    )
    world.fault = null
    await world.deploy('steady', 'better')
    const better = await world.functions.get(PROJECT, 'steady')
    assert.deepEqual([better.refused, world.retired.includes(good.versionId)], [null, true])
  })

  it('settings that loading does not see keep the compile cache; others have one made', async () => {
    await world.deploy('cache', 1)
    const likes = async (spec: object, value = 1) => {
      const { versionId } = await world.functions.get(PROJECT, 'cache')
      await world.deploy('cache', value, spec)
      return world.built.at(-1)?.like === versionId
    }
    assert.equal(await likes({ memory: 512, timeout: 9, description: 'd', environment: { A: '1' } }), true)
    assert.equal(await likes({ handler: 'index.other' }), false)
    assert.equal(await likes({ handler: 'index.other' }, 2), false)
  })

  it('an edit beside the same packages is built later, and takes over nothing that other code has left', async () => {
    const kin = { name: 'packages', ownBytes: 100 }
    await world.deploy('edited', 1, {}, kin)
    const [built, first] = [world.built.length, world.built.at(-1)]
    assert.equal(first?.like, null)
    await world.deploy('edited', 2, {}, kin)
    const { versionId } = await world.functions.get(PROJECT, 'edited')
    assert.deepEqual([world.built.length, world.late.size, world.late.has(versionId)], [built, 1, true])
    await world.late.get(versionId)?.()
    assert.deepEqual([world.built.at(-1)?.version.id, world.built.at(-1)?.like], [versionId, null])
    // The same code with other settings may have what that very code has left.
    await world.deploy('edited', 2, { timeout: 9 }, kin)
    assert.deepEqual([world.built.at(-1)?.like, world.late.size], [versionId, 1])
    // Other packages: what was there before is of no use, and it is built at once.
    await world.deploy('edited', 3, {}, { ...kin, name: 'others' })
    assert.deepEqual([world.built.at(-1)?.like, world.built.length, world.late.size], [null, built + 3, 1])
  })

  it('qualifiers that name nothing are not found, whatever they are', async () => {
    await world.deploy('names')
    await publish('names')
    for (const qualifier of ['2', '01', '0', '99999999999999999999', 'no-such', '$latest', '', 'a\0b', '1:1', "' or true --"])
      await assert.rejects(world.functions.resolve(PROJECT, 'names', qualifier), { code: 'function_not_found' }, qualifier)
    await fc.assert(
      fc.asyncProperty(fc.string(), async (qualifier) => {
        fc.pre(qualifier !== '1' && qualifier !== '$LATEST')
        await assert.rejects(world.functions.resolve(PROJECT, 'names', qualifier), { code: 'function_not_found' })
      }),
      { numRuns: 100 },
    )
  })
})
