import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { silentLog } from '../core/log.ts'
import { Concurrency } from '../functions/index.ts'
import { FunctionsWorld, PROJECT } from '../functions/functions-fixture.ts'
import { systemClock } from '../lib/clock.ts'
import { Provisioning } from './provisioning.ts'

describe('Provisioning', () => {
  let world: FunctionsWorld
  let concurrency: Concurrency
  before(async () => {
    world = await FunctionsWorld.open()
    concurrency = new Concurrency({ control: world.control, clock: systemClock })
    await world.deploy('f', 1)
    await world.functions.versions.publish(PROJECT, 'f')
  })
  after(() => world[Symbol.asyncDispose]())

  const open: Provisioning[] = []
  afterEach(async () => {
    for (const one of open.splice(0)) await one[Symbol.asyncDispose]()
  })
  /** With sandboxes that only remember what was asked of them, by the version's id. */
  const made = () => {
    const provisioned = new Map<string, number>()
    const retired: string[] = []
    const provisioning = new Provisioning({
      concurrency,
      functions: world.functions,
      sandboxes: {
        provision: (version, count) => void provisioned.set(version.id, count),
        unprovision: (key) => void provisioned.delete(key),
        provisionedKeys: () => [...provisioned.keys()],
        provisioned: () => null,
      },
      retired: (key) => void retired.push(key),
      clock: systemClock,
      log: silentLog,
    })
    open.push(provisioning)
    const become = async (wanted: Record<string, number>) => {
      for (let i = 0; i < 300 && JSON.stringify(Object.fromEntries(provisioned)) !== JSON.stringify(wanted); i++) await systemClock.sleep(10)
      assert.deepEqual(Object.fromEntries(provisioned), wanted)
    }
    return { provisioning, become, retired }
  }
  const idOf = async (qualifier: string) => (await world.functions.get(PROJECT, 'f', qualifier)).versionId
  const functionId = async () => (await world.functions.get(PROJECT, 'f')).id

  it('keeps what the qualifiers name by now, and lets go of what they named before', async () => {
    const { provisioning, become, retired } = made()
    await concurrency.provision(PROJECT, await functionId(), '1', 2)
    await concurrency.provision(PROJECT, await functionId(), '$LATEST', 1)
    const [one, newest] = [await idOf('1'), await idOf('$LATEST')]
    provisioning.look()
    await become({ [one]: 2, [newest]: 1 })
    await world.deploy('f', 2)
    const newer = await idOf('$LATEST')
    provisioning.look()
    await become({ [one]: 2, [newer]: 1 })
    assert.deepEqual(retired, [newest], 'a former $LATEST serves no more')
    await concurrency.unprovision(PROJECT, await functionId(), '$LATEST')
    provisioning.look()
    await become({ [one]: 2 })
    assert.deepEqual(retired, [newest], 'this one still serves')
  })

  it('takes away what was asked for something that is gone', async () => {
    const { provisioning, become } = made()
    await world.functions.aliases.create(PROJECT, 'f', 'live', { version: '1' })
    await concurrency.unprovision(PROJECT, await functionId(), '1')
    await concurrency.provision(PROJECT, await functionId(), 'live', 3)
    provisioning.look()
    await become({ [await idOf('1')]: 3 })
    await world.functions.aliases.delete(PROJECT, 'f', 'live')
    provisioning.look()
    await become({})
    assert.deepEqual(await concurrency.provisioned(await functionId()), [])
  })

  it('does what others want when the code of one cannot be had, and takes nothing away meanwhile', async () => {
    const { provisioning, become } = made()
    await world.deploy('lost', 3)
    await world.deploy('sound', 4)
    const [lost, sound] = [await world.functions.get(PROJECT, 'lost'), await world.functions.get(PROJECT, 'sound')]
    await concurrency.provision(PROJECT, lost.id, '$LATEST', 1)
    provisioning.look()
    await become({ [lost.versionId]: 1 })
    await concurrency.provision(PROJECT, sound.id, '$LATEST', 2)
    const { resolve } = world.functions
    world.functions.resolve = async (project, name, qualifier) => {
      if (name === 'lost') throw new Error('its artefact is damaged on disk')
      return await resolve.call(world.functions, project, name, qualifier)
    }
    try {
      provisioning.look()
      await become({ [lost.versionId]: 1, [sound.versionId]: 2 })
    } finally {
      world.functions.resolve = resolve
      for (const { id } of [lost, sound]) await concurrency.unprovision(PROJECT, id, '$LATEST')
    }
    provisioning.look()
    await become({})
  })

  it('looks at nothing when it is closed', async () => {
    const { provisioning, become } = made()
    await provisioning[Symbol.asyncDispose]()
    await concurrency.provision(PROJECT, await functionId(), '1', 1)
    provisioning.look()
    await systemClock.sleep(100)
    await become({})
  })
})
