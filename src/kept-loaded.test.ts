import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { BusValue } from './backends/bus/bus.ts'
import type { Crew } from './crew.ts'
import type { Version } from './functions/index.ts'
import type { Homes } from './homes.ts'
import type { KeepsLoaded } from './invoke/index.ts'
import { KeptByWorkers, type KeptStates, ToldOfKept } from './kept-loaded.ts'

const version = (id: string) => ({ id, project: 'demo', functionName: 'f' }) as Version

function open() {
  const told: string[] = []
  const world = { home: 1 as number | null, live: [1, 2] }
  const homes = {
    of: () => world.home,
    get live() {
      return world.live
    },
  } as unknown as Homes
  const crew = {
    askOne: async (worker: number, what: string, value: BusValue) => {
      const { version: of, count } = value as { version?: { id: string }; count?: number }
      told.push(`${worker} ${what} ${of?.id ?? String(value)} ${count ?? ''}`.trim())
      return null
    },
  } as unknown as Crew
  const here: KeepsLoaded = {
    provision: ({ id }, count) => void told.push(`here provision ${id} ${count}`),
    unprovision: (key) => void told.push(`here unprovision ${key}`),
    provisionedKeys: () => [],
    provisioned: () => ({ requested: 9, available: 9, status: 'READY', reason: null }),
  }
  return { told, world, kept: new KeptByWorkers(homes, crew, here) }
}

describe('what workers keep loaded', () => {
  it('is with the home of its function, and known by what that one says', () => {
    const { told, kept } = open()
    kept.provision(version('a'), 2)
    assert.deepEqual(told.splice(0), ['1 provision a 2'])
    assert.deepEqual(kept.provisioned('a'), { requested: 2, available: 0, status: 'IN_PROGRESS', reason: null })
    const ready = { requested: 2, available: 2, status: 'READY', reason: null } as const
    kept.heard(2, { a: ready }) // not its home
    kept.heard(1, { a: { ...ready, requested: 1 } }) // from before
    assert.equal(kept.provisioned('a')?.status, 'IN_PROGRESS')
    kept.heard(1, { a: ready, b: ready })
    assert.deepEqual([kept.provisioned('a'), kept.provisioned('b'), kept.provisionedKeys()], [ready, null, ['a']])
    kept.provision(version('a'), 2)
    assert.deepEqual(kept.provisioned('a'), ready)
    kept.unprovision('a')
    assert.deepEqual([told.splice(0), kept.provisioned('a')], [['1 provision a 2', '1 unprovision a'], null])
  })
  it('goes to the next home when its worker is gone, and here when there is none', () => {
    const { told, world, kept } = open()
    kept.provision(version('a'), 2)
    world.live = [2]
    world.home = 2
    kept.lost(1)
    kept.provision(version('a'), 2)
    assert.deepEqual(told.splice(0), ['1 provision a 2', 'here unprovision a', '2 provision a 2'])
    world.home = 1
    world.live = [1, 2]
    kept.provision(version('a'), 2)
    assert.deepEqual(told.splice(0), ['2 unprovision a', '1 provision a 2'])
    world.home = null
    world.live = []
    kept.lost(1)
    kept.provision(version('a'), 2)
    assert.deepEqual(told, ['here provision a 2'])
    assert.equal(kept.provisioned('a')?.available, 9)
  })
  it('is told in messages that the bus takes, however much it is and whatever the code says of itself', () => {
    const detail = '\u0001'.repeat(1_000)
    const state = { requested: 1, available: 0, status: 'FAILED', reason: 'FUNCTION_ERROR_INIT_FAILURE', detail } as const
    let states: KeptStates = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`key-${n}`, state]))
    const told = new ToldOfKept(() => states)
    const pieces = told.changed()
    assert.deepEqual(Object.assign({}, ...pieces), states)
    for (const piece of pieces) assert.ok(JSON.stringify(piece).length < 1024 * 1024)
    assert.deepEqual(told.changed(), [], 'nothing is another')
    const heard: Record<string, unknown> = {}
    for (let n = 0; n < pieces.length; n++) Object.assign(heard, told.some())
    assert.deepEqual(heard, states, 'what was lost is told again')
    assert.deepEqual(told.some(), pieces[0])
    states = { one: { ...state, available: 1 } }
    assert.deepEqual([told.changed(), told.some()], [[states], states])
  })
})
