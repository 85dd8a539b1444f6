import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CronExpressionParser } from 'cron-parser'
import { nextDue, takeDue, timeOf } from './due.ts'

const DAY = 86_400_000
const YEAR = Date.parse('2026-01-01T00:00:00Z')

/** The same numbers for the same seed. */
function numbers(seed: number): (most: number) => number {
  let state = seed
  return (most) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state % most
  }
}

function field(random: (most: number) => number, low: number, high: number): string {
  const at = () => low + random(high - low + 1)
  const [a, b] = [at(), at()].toSorted((x, y) => x - y) as [number, number]
  return ['*', String(a), `${a}-${b}`, `*/${1 + random(high - low)}`, a === b ? `${a}` : `${a},${b}`, `${a}-${b}/${1 + random(5)}`][random(6)] ?? '*'
}

test('a year of random crons comes at the moments that another library says', () => {
  const seed = 20_260_101
  const random = numbers(seed)
  let compared = 0
  for (let round = 0; round < 150; round++) {
    // Where clocks change libraries differ, so that the hours in which they do are left out there; they stand below.
    const zone = ['UTC', 'Asia/Seoul', 'Asia/Kolkata', 'America/New_York', 'Europe/Berlin'][random(5)] ?? 'UTC'
    const hours = zone.startsWith('Asia') || zone === 'UTC' ? field(random, 0, 23) : `${4 + random(10)}-${14 + random(10)}`
    const seconds = random(4) === 0 ? [String(random(60))] : []
    const cron = [...seconds, field(random, 0, 59), hours, field(random, 1, 31), field(random, 1, 12), field(random, 0, 6)].join(' ')
    const other = CronExpressionParser.parse(cron, { currentDate: new Date(YEAR), tz: zone })
    // From the first of the year, from each month on, and from some random day.
    const months = Array.from({ length: 12 }, (_, month) => Date.UTC(2026, month))
    for (const [from, most] of [[YEAR, 10], ...months.map((month) => [month, 3]), [YEAR + random(364) * DAY + random(DAY), 10]] as [number, number][]) {
      other.reset(new Date(from))
      let after = from
      for (let n = 0; n < most && after < YEAR + 365 * DAY; n++) {
        const mine = nextDue({ cron, timezone: zone }, 0, after)
        assert.equal(
          mine && new Date(mine).toISOString(),
          other.next().toDate().toISOString(),
          `${cron} ${zone} after ${new Date(after).toISOString()} (seed ${seed})`,
        )
        if (mine === null) break
        after = mine
        compared++
      }
    }
  }
  assert.ok(compared > 5_000, `${compared} moments`)
})

test('clocks that are put forward or back: what they skip comes after the gap, what they show twice comes once, open hours each', () => {
  for (const [cron, zone, from, ...expected] of [
    ['30 2 * * *', 'America/New_York', '2026-03-07T12:00:00Z', '2026-03-08T07:00:00Z', '2026-03-09T06:30:00Z'],
    ['30 1 * * *', 'America/New_York', '2026-10-31T12:00:00Z', '2026-11-01T05:30:00Z', '2026-11-02T06:30:00Z'],
    ['30 * * * *', 'America/New_York', '2026-11-01T04:00:00Z', '2026-11-01T04:30:00Z', '2026-11-01T05:30:00Z', '2026-11-01T06:30:00Z'],
    ['30 * * * *', 'America/New_York', '2026-03-08T06:00:00Z', '2026-03-08T06:30:00Z', '2026-03-08T07:30:00Z'],
    ['0 3 * * *', 'Asia/Seoul', '2026-03-08T06:00:00Z', '2026-03-08T18:00:00Z'],
  ] as const) {
    let after = Date.parse(from)
    for (const one of expected) {
      after = nextDue({ cron, timezone: zone }, 0, after) ?? 0
      assert.equal(new Date(after).toISOString(), new Date(one).toISOString(), `${cron} ${zone}`)
    }
  }
})

test('what is due on the first of a month is not passed over for a day that the month before has not', () => {
  for (const [cron, from, ...expected] of [
    ['0 3 1,31 * *', '2026-02-01T04:00:00Z', '2026-03-01T03:00:00Z', '2026-03-31T03:00:00Z', '2026-04-01T03:00:00Z'],
    ['0 3 1,30 * *', '2027-02-20T00:00:00Z', '2027-03-01T03:00:00Z', '2027-03-30T03:00:00Z'],
    ['0 3 */6 * 3', '2026-02-25T04:00:00Z', '2026-03-01T03:00:00Z', '2026-03-04T03:00:00Z'],
    ['0 3 29 2 *', '2026-01-01T00:00:00Z', '2028-02-29T03:00:00Z', '2032-02-29T03:00:00Z'],
  ] as const) {
    let after = Date.parse(from)
    for (const one of expected) {
      after = nextDue({ cron, timezone: 'UTC' }, 0, after) ?? 0
      assert.equal(new Date(after).toISOString(), new Date(one).toISOString(), cron)
    }
  }
})

test('every counts from when it was said, whenever somebody looks', () => {
  const since = YEAR + 400
  for (const [after, due] of [
    [since, 300],
    [YEAR + 299_999, 300],
    [YEAR + 300_000, 600],
    [YEAR + 10_000_000, 10_200],
    [YEAR - DAY, 300],
  ] as const)
    assert.equal(nextDue({ every: 300, timezone: 'UTC' }, since, after), YEAR + due * 1_000)
})

test('a time that comes once is of its offset, or of the zone', () => {
  assert.equal(timeOf('2026-12-24T18:00:00', 'Asia/Seoul'), Date.parse('2026-12-24T09:00:00Z'))
  assert.equal(timeOf('2026-12-24T18:00:00-05:00', 'Asia/Seoul'), Date.parse('2026-12-24T23:00:00Z'))
  const at = Date.parse('2026-12-24T18:00:00Z')
  assert.deepEqual(takeDue({ at: '2026-12-24T18:00:00Z', timezone: 'UTC' }, 0, at, at + 5), { fire: [at], next: null })
  assert.equal(nextDue({ at: '2026-12-24T18:00:00Z', timezone: 'UTC' }, 0, Date.parse('2026-12-24T18:00:00Z')), null)
})

test('what is on time runs each; of what was missed none, one, or each, a bounded number at once', () => {
  const now = YEAR + 3 * DAY
  const take = (missed: 'skip' | 'once' | 'all', first: number) => takeDue({ every: 20, missed, timezone: 'UTC' }, YEAR, first, now)
  const seconds = ({ fire }: ReturnType<typeof take>) => fire.map((at) => (at - now) / 1_000)
  assert.deepEqual(seconds(take('skip', now - 40_000)), [-40, -20, 0])
  assert.deepEqual(seconds(take('skip', now - DAY)), [-40, -20, 0])
  assert.deepEqual(seconds(take('once', now - DAY)), [-86_400, -40, -20, 0])
  const all = take('all', now - DAY)
  assert.deepEqual([all.fire.length, all.next], [100, now - DAY + 100 * 20_000])
  for (const missed of ['skip', 'once'] as const) assert.equal(take(missed, now - DAY).next, now + 20_000)
})
