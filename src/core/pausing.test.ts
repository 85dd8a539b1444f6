import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Database, DatabaseError } from '../backends/database/database.ts'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { MayflyError } from './errors.ts'
import { LIMITS } from './limits.ts'
import { silentLog } from './log.ts'
import { Pausing, type PausingDeps } from './pausing.ts'
import type { Project, ProjectRef } from './project.ts'

const SHOP = 'shop' as ProjectRef
const IDLE_MS = 10_000
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** A node of one project: what was done to it stands in `did`, in order. */
function open(how: Partial<PausingDeps> = {}, control: { away: boolean } = { away: false }) {
  const did: string[] = []
  let isRunning = true
  const sql = async (strings: TemplateStringsArray) => {
    const text = strings.join('?')
    if (/^\s*select ref/.test(text)) return []
    if (control.away) throw new DatabaseError('08006', 'away')
    did.push(text.includes('paused_at = null') ? 'control: awake' : 'control: paused')
    return [{ ref: SHOP }]
  }
  const project: Project = { id: '1', ref: SHOP, name: 'shop', state: 'active' }
  const clock = new VirtualClock()
  const pausing = new Pausing({
    control: { sql } as unknown as Database,
    projects: { find: (ref) => (ref === SHOP ? project : null), list: () => [project] },
    stop: async () => {
      isRunning = false
      did.push('stopped')
    },
    running: async () => new Set(isRunning ? [SHOP] : []),
    letGo: async () => void did.push('let go'),
    seal: async () => {
      did.push('sealed')
      return { [Symbol.asyncDispose]: async () => void did.push('unsealed') }
    },
    keptBy: async () => null,
    heldBy: async () => null,
    idleMs: IDLE_MS,
    crash: () => {},
    clock,
    log: silentLog,
    ...how,
  })
  return { pausing, did, clock, serve: () => (isRunning = true) }
}

const ended = (work: Promise<unknown>) => {
  let is = false
  void work.finally(() => (is = true))
  return () => is
}

describe('Pausing', () => {
  it('lets go, says so, and stops, in this order; the next visitor wakes it, and is counted at once where nothing rests', async () => {
    const { pausing, did } = open()
    const visit = pausing.enter(SHOP)
    assert.ok(!(visit instanceof Promise))
    visit[Symbol.dispose]()
    await pausing.pause(SHOP)
    assert.deepEqual(did, ['let go', 'sealed', 'control: paused', 'stopped', 'unsealed'])
    assert.equal(pausing.isPaused(SHOP), true)
    await pausing.pause(SHOP)
    assert.equal(did.length, 5)
    const [one, two] = await Promise.all([pausing.enter(SHOP), pausing.wake(SHOP)])
    one[Symbol.dispose]()
    assert.equal(two, undefined)
    assert.deepEqual(did.slice(5), ['control: awake'])
    assert.equal(pausing.isPaused(SHOP), false)
  })

  it('waits for what runs, no longer than LIMITS.pauseGrace; who comes meanwhile waits and wakes it', async () => {
    const { pausing, did, clock } = open()
    const long = await pausing.enter(SHOP)
    const pausingIt = pausing.pause(SHOP)
    await turn()
    const late = pausing.enter(SHOP) as Promise<Disposable>
    const isIn = ended(late)
    await clock.pass(LIMITS.pauseGrace.value - 1)
    assert.deepEqual(did, [])
    await clock.pass(1)
    await pausingIt
    const visit = await late
    assert.ok(isIn())
    assert.deepEqual(did, ['let go', 'sealed', 'control: paused', 'stopped', 'unsealed', 'control: awake'])
    visit[Symbol.dispose]()
    long[Symbol.dispose]()
    const short = await pausing.enter(SHOP)
    const again = pausing.pause(SHOP)
    await turn()
    short[Symbol.dispose]()
    await again
    assert.equal(pausing.isPaused(SHOP), true)
  })

  it('does not rest when its events cannot be handed on, or control does not hear of it', async () => {
    const control = { away: false }
    let full = true
    const { pausing, did } = open(
      {
        letGo: async () => {
          if (full) throw new MayflyError('queue_full', 'full')
        },
      },
      control,
    )
    await assert.rejects(pausing.pause(SHOP), { code: 'queue_full' })
    full = false
    control.away = true
    await assert.rejects(pausing.pause(SHOP), DatabaseError)
    assert.equal(pausing.isPaused(SHOP), false)
    assert.deepEqual(did, ['sealed', 'unsealed'])
    // Whether the commit came through is not known: it is taken back.
    control.away = false
    await pausing.look()
    assert.deepEqual(did, ['sealed', 'unsealed', 'control: awake'])
  })

  it('is left alone by who only looks after it from the moment that a pause begins, and no longer than that', async () => {
    const going = Promise.withResolvers<void>()
    const { pausing } = open({ letGo: () => going.promise })
    assert.equal(pausing.rests(SHOP), false)
    const paused = pausing.pause(SHOP)
    await turn()
    assert.deepEqual([pausing.rests(SHOP), pausing.isPaused(SHOP)], [true, false])
    going.reject(new Error('an event is left'))
    await assert.rejects(paused, /an event is left/)
    assert.equal(pausing.rests(SHOP), false)
  })

  it('pauses what nobody uses for a while, and nothing that something keeps awake', async () => {
    let kept: string | null = '1 realtime sockets are open'
    const { pausing, did, clock } = open({ keptBy: async () => kept })
    await pausing.look()
    await clock.pass(IDLE_MS)
    await pausing.look()
    assert.deepEqual(did, [])
    kept = null
    const visit = await pausing.enter(SHOP)
    await clock.pass(2 * IDLE_MS)
    await pausing.look()
    visit[Symbol.dispose]()
    await clock.pass(IDLE_MS - 1)
    await pausing.look()
    pausing.used(SHOP)
    await clock.pass(IDLE_MS - 1)
    await pausing.look()
    assert.deepEqual(did, [])
    await clock.pass(1)
    await pausing.look()
    assert.deepEqual(did, ['let go', 'sealed', 'control: paused', 'stopped', 'unsealed'])
    pausing.used(SHOP)
    await turn()
    assert.equal(pausing.isPaused(SHOP), false)
  })

  it('stops again what came past the gate as it closed', async () => {
    const { pausing, did, serve } = open()
    await pausing.pause(SHOP)
    serve()
    await pausing.look()
    assert.deepEqual(did, ['let go', 'sealed', 'control: paused', 'stopped', 'unsealed', 'stopped'])
  })

  it('says what is in the way, and knows no project that is not there', async () => {
    const { pausing } = open({ heldBy: async () => 'sandboxes of its functions are provisioned' })
    await assert.rejects(pausing.pause(SHOP), { code: 'project_busy', message: /sandboxes of its functions are provisioned/ })
    await assert.rejects(pausing.pause('other' as ProjectRef), { code: 'project_not_found' })
    await assert.rejects(pausing.resume('other' as ProjectRef), { code: 'project_not_found' })
  })
})
