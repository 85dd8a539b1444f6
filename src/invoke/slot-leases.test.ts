import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { openInProcessBus } from '../backends/bus/in-process.ts'
import { MayflyError } from '../core/errors.ts'
import { systemClock } from '../lib/clock.ts'
import { Admission, type Reservations, type Slot } from './admission.ts'
import { type Admits, LeasedSlots, SlotLender } from './slot-leases.ts'

const caller = (functionId: string) => ({ project: 'demo', functionId })
const NEVER = new AbortController().signal
const isRefusal = (code: string) => (error: unknown) => error instanceof MayflyError && error.code === code

function open(limits: { node?: number; reserved?: Readonly<Record<string, number>>; workers?: number } = {}) {
  const { node = 100, reserved = {}, workers = 2 } = limits
  const bus = openInProcessBus()
  const reservations: Reservations = {
    of: (id) => reserved[id] ?? null,
    total: Object.values(reserved).reduce((sum, one) => sum + one, 0),
    projects: 1,
    weightOf: () => 1,
    mostWeight: 1,
    mostOf: () => null,
  }
  const admission = new Admission({ node, perProject: node, perFunction: node }, systemClock, reservations)
  const lender = new SlotLender(admission, bus)
  const leased = Array.from({ length: workers }, (_, at) => {
    lender.join(at + 1)
    return new LeasedSlots(bus, at + 1, systemClock)
  })
  const close = async () => {
    for (const one of leased) one[Symbol.dispose]()
    lender[Symbol.dispose]()
    await bus[Symbol.asyncDispose]()
  }
  return { admission, lender, leased: leased as [LeasedSlots, LeasedSlots], reserved: reserved as Record<string, number>, [Symbol.asyncDispose]: close }
}

const until = async (done: () => boolean) => {
  for (let i = 0; i < 400 && !done(); i++) await delay(5)
  assert.ok(done(), 'it never came')
}

describe('slots that are lent to workers', () => {
  it('are counted in one place, and a warm call asks nobody', async () => {
    await using all = open()
    const [one] = all.leased
    const first = await one.enter(caller('f'))
    assert.ok(all.admission.running > 0)
    assert.deepEqual([one.running, all.lender.running], [1, 0])
    first[Symbol.dispose]()
    first[Symbol.dispose]()
    const second = one.enter(caller('f'))
    assert.ok(!(second instanceof Promise))
    assert.equal(one.running, 1)
    second[Symbol.dispose]()
  })
  it('hold what is reserved over all processes, and no idle one refuses anybody', async () => {
    await using all = open({ reserved: { f: 2 } })
    const [one, other] = all.leased
    const held: Slot[] = [await one.enter(caller('f')), await other.enter(caller('f'))]
    for (const by of [one, other, all.lender] as Admits[])
      await assert.rejects(async () => await by.enter(caller('f')), isRefusal('function_concurrency_reached'))
    held.pop()?.[Symbol.dispose]() // idle in the second worker
    const third = await one.enter(caller('f'))
    await assert.rejects(async () => await all.lender.enter(caller('f')), isRefusal('function_concurrency_reached'))
    third[Symbol.dispose]()
    ;(await all.lender.enter(caller('f')))[Symbol.dispose]()
    held.pop()?.[Symbol.dispose]()
  })
  it('hold the limit of the node likewise', async () => {
    await using all = open({ node: 10 })
    const [one, other] = all.leased
    const held: Slot[] = []
    for (let i = 0; i < 10; i++) held.push(await ([one, other, all.lender][i % 3] as Admits).enter(caller(`f${i}`)))
    for (const by of [one, other, all.lender] as Admits[]) await assert.rejects(async () => await by.enter(caller('g')), isRefusal('too_many_invocations'))
    assert.equal(one.running + other.running + all.lender.running, 10)
    for (const slot of held) slot[Symbol.dispose]()
  })
  it('are waited for by nobody who has left, nor by a worker that is gone, and none is lost by that', async () => {
    await using all = open({ reserved: { f: 1 } })
    const [one, other] = all.leased
    const held = await one.enter(caller('f'))
    const leaving = new AbortController()
    const waits = Array.from({ length: 20 }, () => other.wait(caller('f'), 20_000, leaving.signal))
    const stays = one.wait(caller('f'), 20_000, NEVER)
    await until(() => all.admission.waiting === 21)
    leaving.abort(new Error('left'))
    for (const wait of waits) await assert.rejects(wait, /left/)
    await until(() => all.admission.waiting === 1)
    const dies = assert.rejects(async () => await other.wait(caller('f'), 20_000, NEVER), isRefusal('shutting_down'))
    await until(() => all.admission.waiting === 2)
    all.lender.leave(2)
    await until(() => all.admission.waiting === 1)
    held[Symbol.dispose]()
    ;(await stays)[Symbol.dispose]()
    all.lender.join(2)
    ;(await other.wait(caller('f'), 20_000, NEVER))[Symbol.dispose]()
    await dies
  })
  it('go to who waits, though they become free in another process', async () => {
    await using all = open({ reserved: { f: 1 } })
    const [one, other] = all.leased
    const held = await one.enter(caller('f'))
    const waits = [other.wait(caller('f'), 20_000, NEVER), all.lender.wait(caller('f'), 20_000, NEVER)]
    await delay(20)
    held[Symbol.dispose]()
    const first = await Promise.race(waits)
    first[Symbol.dispose]()
    for (const slot of await Promise.all(waits)) slot[Symbol.dispose]()
    await assert.rejects(async () => {
      const last = await one.enter(caller('f'))
      await other.wait(caller('f'), 30, NEVER).finally(() => last[Symbol.dispose]())
    }, isRefusal('function_concurrency_reached'))
  })
  it('are not lost with a call that is given up while it waits', async () => {
    await using all = open({ reserved: { f: 1 } })
    const [one, other] = all.leased
    const held = await one.enter(caller('f'))
    const leaving = new AbortController()
    const waits = other.wait(caller('f'), 20_000, leaving.signal)
    const lost = assert.rejects(waits)
    await delay(20)
    leaving.abort()
    held[Symbol.dispose]()
    await lost
    ;(await all.lender.enter(caller('f')))[Symbol.dispose]()
  })
  it('come back by themselves, at once when limits change, and all when their process is gone', async () => {
    await using all = open()
    const [one, other] = all.leased
    ;(await one.enter(caller('f')))[Symbol.dispose]()
    assert.ok(all.admission.running > 0)
    one.giveBackIdle()
    for (let i = 0; i < 200 && all.admission.running > 0; i++) await delay(5)
    assert.equal(all.admission.running, 0)
    ;(await one.enter(caller('f')))[Symbol.dispose]()
    for (let i = 0; i < 800 && all.admission.running > 0; i++) await delay(5)
    assert.equal(all.admission.running, 0)
    await other.enter(caller('f'))
    await other.enter(caller('g'))
    all.lender.leave(2)
    assert.equal(all.admission.running, 0)
    // What it says from beyond changes nothing.
    other.giveBackIdle()
    await assert.rejects(async () => await other.enter(caller('h')), isRefusal('shutting_down'))
    assert.equal(all.admission.running, 0)
  })
  it('never exceed a limit, and are all free in the end, whatever happens in whatever order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ by: fc.nat(2), of: fc.nat(2), act: fc.constantFrom('enter', 'wait', 'end', 'idle') }), { maxLength: 60 }),
        async (steps) => {
          await using all = open({ node: 5, reserved: { f0: 2 } })
          const places: Admits[] = [all.lender, ...all.leased]
          const held: { of: string; slot: Slot }[] = []
          const work: Promise<void>[] = []
          for (const { by, of, act } of steps) {
            const functionId = `f${of}`
            const place = places[by] as Admits
            if (act === 'end') held.splice(by, 1)[0]?.slot[Symbol.dispose]()
            else if (act === 'idle') all.leased[by % 2]?.giveBackIdle()
            else {
              work.push(
                (async () => {
                  const slot = await (act === 'enter' ? place.enter(caller(functionId)) : place.wait(caller(functionId), 2, NEVER))
                  held.push({ of: functionId, slot })
                  assert.ok(held.length <= 5)
                  assert.ok(held.filter((one) => one.of === 'f0').length <= 2)
                })().catch((error: unknown) => {
                  if (!(error instanceof MayflyError)) throw error
                }),
              )
              if (by === 0) await delay(0)
            }
          }
          await Promise.all(work)
          assert.equal(held.length, all.lender.running + all.leased[0].running + all.leased[1].running)
          for (const { slot } of held) slot[Symbol.dispose]()
          // All of the node is there for one process.
          for (let i = 0; i < 4; i++) held.push({ of: 'f1', slot: await all.leased[0].wait(caller(i < 2 ? 'f0' : 'f1'), 1_000, NEVER) })
          for (const { slot } of held) slot[Symbol.dispose]()
          for (const one of all.leased) one.giveBackIdle()
          for (let i = 0; i < 200 && all.admission.running > 0; i++) await delay(1)
          assert.equal(all.admission.running, 0)
        },
      ),
      { numRuns: 40 },
    )
  })
})
