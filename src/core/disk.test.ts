import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { GiB, MiB } from '../lib/bytes.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import { Ballast } from './ballast.ts'
import { DiskGuard, reserveBytes } from './disk.ts'
import { MayflyError } from './errors.ts'
import { LIMITS } from './limits.ts'
import { type Log, silentLog } from './log.ts'

describe('reserveBytes', () => {
  const rows: [string, number, number, number][] = [
    ['the 2 GiB of diskReserve where a tenth is more', 30 * GiB, 0, LIMITS.diskReserve.value],
    ['diskReserveShare where that is more', 1000 * GiB, 0, (1000 * GiB * LIMITS.diskReserveShare.value) / 100],
    ['diskReserveMost on a small file system', 10 * GiB, 0, (10 * GiB * LIMITS.diskReserveMost.value) / 100],
    ['what the operator set', 10 * GiB, 5000, 5000 * MiB],
  ]
  for (const [name, total, wantedMb, expected] of rows) it(`is ${name}`, () => assert.equal(reserveBytes(total, wantedMb), expected))
})

describe('the disk guard', () => {
  let folder = ''
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-disk-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  /** Free space, time and log by hand. */
  const open = async (freeMb: number, reserveMb = 100, ballastMb = 1000) => {
    const told: string[] = []
    const fires: { ms: number; fire: () => void }[] = []
    const note = (_: object, message: string) => void told.push(message)
    const log: Log = { ...silentLog, info: note, warn: note, error: note }
    const clock: Clock = { ...systemClock, timer: (ms, fire) => (fires.push({ ms, fire }), { [Symbol.dispose]: () => {} }) }
    const space = { freeMb, fails: false }
    const guard = await DiskGuard.open({
      places: [
        { name: 'the data directory', folder },
        { name: 'the same file system', folder },
        { name: 'one that is not there', folder: path.join(folder, 'none') },
      ],
      reserveMb,
      ballast: new Ballast(folder, ballastMb * MiB),
      clock,
      log,
      measure: async () => {
        if (space.fails) throw new Error('gone')
        return { freeBytes: space.freeMb * MiB, totalBytes: 10 * GiB }
      },
    })
    const pass = async () => {
      const next = fires.shift()
      assert.equal(next?.ms, LIMITS.diskSample.value)
      next?.fire()
      for (let i = 0; i < 10; i++) await turn()
    }
    return { guard, told, space, pass }
  }
  const refusal = (work: () => void): string => {
    try {
      work()
      return 'admitted'
    } catch (error) {
      assert.ok(error instanceof MayflyError && error.code === 'storage_full')
      return error.message
    }
  }

  it('goes to the edge: all at the reserve, no data one below it, nothing one below half of it', async () => {
    const { guard, space } = await open(100)
    const at = async (freeMb: number) => {
      space.freeMb = freeMb
      await guard.sample()
      return [guard.state, refusal(() => guard.admit('data')), refusal(() => guard.admit('records'))]
    }
    const noData = (free: number) => `the file system of the data directory has ${free} MiB free; below 100 MiB nothing new is kept`
    assert.deepEqual(await at(100), ['ok', 'admitted', 'admitted'])
    assert.deepEqual(await at(99), ['low', noData(99), 'admitted'])
    assert.deepEqual(await at(50), ['low', noData(50), 'admitted'])
    assert.deepEqual(await at(49), ['full', noData(49), 'the file system of the data directory has 49 MiB free; below 50 MiB nothing runs'])
    assert.deepEqual(guard.describe(), { state: 'full', freeMb: 49, reserveMb: 100 })
    assert.equal(guard.samples.length, 1, 'a file system counts once')
  })
  it('looks by the clock, not by the request, and tells each change once', async () => {
    const { guard, told, space, pass } = await open(200)
    space.freeMb = 60
    assert.equal(
      refusal(() => guard.admit('data')),
      'admitted',
      'not seen yet',
    )
    await pass()
    await pass()
    assert.equal(guard.state, 'low')
    space.freeMb = 10
    await pass()
    await pass()
    space.freeMb = 200
    await pass()
    assert.deepEqual(
      told.map((line) => line.split(':')[0]),
      ['a file system is nearly full', 'a file system is full', 'there is space again'],
    )
  })
  it('goes on when the space cannot be read, and stops with its owner', async () => {
    const { guard, told, space, pass } = await open(10)
    space.fails = true
    await pass()
    await pass()
    assert.deepEqual(
      [guard.state, told],
      ['full', ['a file system is full: only reads and deletes are served until there is space', 'the free space of a file system cannot be read']],
    )
    await guard[Symbol.asyncDispose]()
    await pass()
    await assert.rejects(pass(), 'no further timer')
  })
  it('makes the ballast when the reserve allows it, and again after it was given back', async () => {
    const { guard, space } = await open(100, 100, 1)
    const ballast = new Ballast(folder, 1 * MiB)
    assert.equal(ballast.there, false, 'it would leave less than the reserve')
    space.freeMb = 101
    await guard.sample()
    const { size, blocks } = statSync(path.join(folder, 'ballast'))
    assert.deepEqual([size, blocks * 512 >= size], [1 * MiB, true], 'it takes the space that it shows')
    assert.deepEqual([await ballast.drop(), await ballast.drop(), ballast.there], [true, false, false])
    await guard.sample()
    assert.equal(ballast.there, true)
    assert.ok(LIMITS.ballast.value >= 4 * 16 * MiB, 'four segments of the log of PostgreSQL')
  })
})
