import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { LIMIT_PROFILES, type LimitProfileName } from '../core/limit-profiles.ts'
import { LIMITS } from '../core/limits.ts'
import { definitionOfSpec, parseFunctionSpec } from './definition.ts'
import { FunctionsWorld, PROJECT } from './functions-fixture.ts'
import { admitByProfile, tmpBeyondMemory } from './profile.ts'

const ARTEFACT = '0'.repeat(64)
const definition = (spec: object) => definitionOfSpec('f', parseFunctionSpec({ artefact: ARTEFACT, ...spec }), {})

describe('what a function may be set to', () => {
  const { functionMemory, functionTimeout, functionTmp, sandboxCalls } = LIMITS
  for (const [field, { least, value: most }] of Object.entries({
    memory: functionMemory,
    timeout: functionTimeout,
    tmp: functionTmp,
    concurrency: sandboxCalls,
  })) {
    it(`takes ${field} from ${least} to ${most}, and tells both to what lies past them`, () => {
      for (const value of [least, most]) assert.equal((parseFunctionSpec({ artefact: ARTEFACT, [field]: value }) as Record<string, unknown>)[field], value)
      for (const value of [least - 1, most + 1, 1.5, '7', null])
        assert.throws(() => parseFunctionSpec({ artefact: ARTEFACT, [field]: value }), {
          code: 'bad_request',
          message: new RegExp(`^${field}: must be a whole number of .* from ${least} to ${most}$`),
        })
    })
  }
})

it('says of a /tmp that was asked for and does not fit into the memory that it is part of', () => {
  for (const [spec, isTold] of [
    [{}, false],
    [{ memory: 64 }, false],
    [{ memory: 512, tmp: 513 }, true],
    [{ memory: 1024, tmp: 1024 }, true],
    [{ memory: 1025, tmp: 1024 }, false],
  ] as const)
    assert.deepEqual([spec, /^tmp: what lies in \/tmp is memory/.test(tmpBeyondMemory(definition(spec)).join())], [spec, isTold])
})

describe('limit profiles', () => {
  const admits = (profile: LimitProfileName, spec: object, before: object | null = null) =>
    admitByProfile(profile, definition(spec), before === null ? null : definition(before))
  const fits = { memory: 512, timeout: 60, tmp: 512, concurrency: 1 }

  for (const [name, profile] of Object.entries(LIMIT_PROFILES)) {
    it(`${name} goes to its edges and no further`, () => {
      for (const field of ['memory', 'timeout', 'tmp', 'concurrency'] as const) {
        const { least, most } = profile[field]
        for (const value of [least, most]) assert.deepEqual(admits(name as LimitProfileName, { ...fits, [field]: value }), [])
        const own = LIMIT_PROFILES.mayfly[field]
        if (most < own.most)
          assert.throws(() => admits(name as LimitProfileName, { ...fits, [field]: most + 1 }), {
            code: 'profile_exceeded',
            message: new RegExp(`^${field}: ${most + 1}( MB| s)? is more than the ${most}( MB| s)? that the limit profile ${name} of the project allows$`),
          })
        if (least > own.least)
          assert.throws(() => admits(name as LimitProfileName, { ...fits, [field]: least - 1 }), {
            code: 'profile_exceeded',
            message: new RegExp(`^${field}: ${least - 1}( MB| s)? is less than the ${least}( MB| s)? that the limit profile ${name} of the project allows$`),
          })
      }
    })
  }

  it('lambda-2017 has the numbers of its year', () => {
    const { memory, timeout, tmp, queuedPayload } = LIMIT_PROFILES['lambda-2017']
    assert.deepEqual([memory.most, timeout.most, tmp.most, queuedPayload], [1500, 300, 512, 131_072])
  })

  it('tells everything that is too much at once', () => {
    assert.throws(() => admits('lambda-2017', { memory: 2048, timeout: 900 }), { code: 'profile_exceeded', message: /^memory: 2048 MB .*; timeout: 900 s .*$/ })
  })

  it('lets what was there before stay, and says so; a change to something else beyond it is refused', () => {
    const before = { memory: 2048, timeout: 600 }
    const stays = admits('lambda-2017', before, before)
    assert.equal(stays.length, 2)
    assert.match(stays[0] ?? '', /^memory: 2048 MB is more than the 1500 MB that the limit profile lambda-2017 .* stays until it is changed\.$/)
    assert.throws(() => admits('lambda-2017', { memory: 2047, timeout: 600 }, before), { code: 'profile_exceeded', message: /^memory: 2047 MB[^;]*$/ })
    assert.deepEqual(admits('lambda-2017', { memory: 1500, timeout: 300 }, before), [])
  })
})

describe('a project with a limit profile', () => {
  let world: FunctionsWorld
  before(async () => {
    world = await FunctionsWorld.open()
  })
  after(() => world[Symbol.asyncDispose]())

  it('refuses what is new beyond it, by deploy, plan and change; what is there is deployed again with a word', async () => {
    await world.deploy('large', 1, { memory: 2048 })
    world.profile = 'lambda-2017'
    await assert.rejects(world.deploy('new', 1, { timeout: 301 }), { code: 'profile_exceeded' })
    assert.equal(await world.functions.find(PROJECT, 'new'), null)
    await assert.rejects(world.functions.warnings(PROJECT, { ...definition({ memory: 1501 }), name: 'new' }, {}), { code: 'profile_exceeded' })
    await assert.rejects(world.functions.update(PROJECT, 'large', { definition: { memoryMb: 3008 } }), { code: 'profile_exceeded' })
    const { definition: wanted, environment, artefact } = await world.functions.get(PROJECT, 'large')
    const again = await world.functions.put(PROJECT, wanted, environment ?? {}, artefact)
    assert.equal(again.changed, false)
    assert.match(again.warnings.join(), /memory: 2048 MB is more than the 1500 MB/)
    const changed = await world.functions.put(PROJECT, { ...wanted, timeoutSeconds: 300 }, environment ?? {}, artefact)
    assert.deepEqual([changed.changed, changed.record.definition.memoryMb], [true, 2048])
    assert.match(changed.warnings.join(), /memory: 2048 MB is more than the 1500 MB/)
  })

  it('says of a function that it is larger than all sandboxes of the node may be together', async () => {
    world.profile = 'mayfly'
    const told = async (memory: number) => await world.functions.warnings(PROJECT, { ...definition({ memory }), name: 'huge' }, {})
    assert.deepEqual(await told(8_192), [])
    assert.deepEqual(await told(8_193), ['memory: 8193 MB is more than the 8192 MB that all sandboxes of this node have together; its calls will be refused.'])
  })

  it('refuses a driver that the node has not, by its name and with what to do', async () => {
    const told = { code: 'bad_request', message: 'sandbox: this node has no driver `gvisor`: runsc is not installed. Install it.' }
    world.profile = 'mayfly'
    await assert.rejects(world.deploy('apart', 1, { sandbox: 'gvisor' }), told)
    await world.deploy('apart', 1, { sandbox: 'bwrap' })
    assert.equal((await world.functions.get(PROJECT, 'apart')).definition.driver, 'bwrap')
    await assert.rejects(world.functions.update(PROJECT, 'apart', { definition: { driver: 'gvisor' } }), told)
    await assert.rejects(world.functions.warnings(PROJECT, { ...definition({ sandbox: 'gvisor' }), name: 'apart' }, {}), told)
    // Code is loaded anew by another driver: what was compiled of it is made there.
    const built = world.built.length
    await world.functions.update(PROJECT, 'apart', { definition: { driver: null } })
    assert.equal(world.built[built]?.like, null)
  })
})
