import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { billOf, type DaySums } from './bill.ts'
import { type Amount, costNano, parsePriceList, readPriceList, showNano } from './prices.ts'

const list = (more: object = {}) =>
  parsePriceList(
    JSON.stringify({ name: 'mine', currency: 'KRW', perMillionExecutions: '300', perGbSecond: '0.02', perGbIn: '0', perGbOut: '120.5', ...more }),
    'prices.json',
  )
const amount = (more: Partial<Amount> = {}): Amount => ({ executions: 0n, mbMs: 0n, bytesIn: 0n, bytesOut: 0n, egressIn: 0n, egressOut: 0n, ...more })
const dayOf = (day: string, functionName: string, more: Partial<DaySums> = {}): DaySums => ({
  ...{ egressIn: '0', egressOut: '0' },
  ...{ day, functionName, executions: '0', errors: '0', cut: '0', cold: '0', billedMs: '0', billedMbMs: '0', bytesIn: '0', bytesOut: '0' },
  ...more,
})

describe('a price list', () => {
  it('comes with us and says that it is an example', () => {
    const built = readPriceList(null)
    assert.equal(built.currency, 'USD')
    assert.match(built.note, /set your own/)
    assert.deepEqual(built.free, { executions: 0, gbSeconds: 0, gbIn: 0, gbOut: 0 })
  })
  it('has nothing for free unless it says so', () => assert.deepEqual(list().free, { executions: 0, gbSeconds: 0, gbIn: 0, gbOut: 0 }))
  const wrong: [string, string, RegExp][] = [
    ['what is no JSON', '{', /^The price list mine\.json is not JSON: /],
    ['a price as a number', JSON.stringify({ ...list(), perGbOut: 0.09 }), /cannot be used: perGbOut: /],
    ['a negative price', JSON.stringify({ ...list(), perGbIn: '-1' }), /perGbIn: must be a decimal number as text/],
    ['more digits than are counted', JSON.stringify({ ...list(), perGbSecond: '0.0000000000001' }), /perGbSecond: must be/],
    ['a word for a currency', JSON.stringify({ ...list(), currency: 'dollars' }), /currency: must be a code of three/],
    ['a field that it does not know', JSON.stringify({ ...list(), perGbSecnod: '1' }), /perGbSecnod/],
    ['a field that is missing', '{"name":"x"}', /perMillionExecutions: /],
    ['a list that is too long', ' '.repeat(65_537), /longer than 65536 bytes/],
  ]
  for (const [what, text, message] of wrong)
    it(`is refused: ${what}`, () => assert.throws(() => parsePriceList(text, 'mine.json'), { name: 'PriceListError', message }))
  it('is refused when it cannot be read', () =>
    assert.throws(() => readPriceList('/nonexistent/prices.json'), {
      name: 'PriceListError',
      message: /^The price list \/nonexistent\/prices\.json cannot be read/,
    }))
})

describe('what an amount costs', () => {
  it('is exact where doubles are not', () => {
    assert.equal(costNano(amount({ executions: 1_000_000n }), list()), 300_000_000_000n)
    assert.equal(costNano(amount({ mbMs: 1_024_000n }), list()), 20_000_000n)
    assert.equal(costNano(amount({ bytesOut: 1_000_000_000n }), list()), 120_500_000_000n)
    assert.equal(costNano(amount({ bytesOut: 9_007_199_254_740_993n }), list({ perGbOut: '1' })), 9_007_199_254_740_993n)
  })
  it('is rounded once, half up, to a billionth', () => {
    assert.equal(costNano(amount({ bytesIn: 1n }), list({ perGbIn: '0.499999999999' })), 0n)
    assert.equal(costNano(amount({ bytesIn: 1n }), list({ perGbIn: '0.5' })), 1n)
    // Each alone would be rounded away.
    assert.equal(costNano(amount({ bytesIn: 1n, bytesOut: 1n }), list({ perGbIn: '0.3', perGbOut: '0.3' })), 1n)
  })
  it('is shown with nine digits', () => {
    assert.deepEqual([0n, 1n, 1_867n, 1_000_000_000n, 12_345_678_901n].map(showNano), [
      '0.000000000',
      '0.000000001',
      '0.000001867',
      '1.000000000',
      '12.345678901',
    ])
  })
  it('adds up to the total, however it is added up', () => {
    const day = fc.record({
      day: fc.constantFrom('2026-06-30', '2026-07-01', '2026-07-02'),
      functionName: fc.constantFrom('f', 'g', 'h'),
      executions: fc.bigInt({ min: 0n, max: 10n ** 12n }).map(String),
      billedMbMs: fc.bigInt({ min: 0n, max: 10n ** 18n }).map(String),
      bytesIn: fc.bigInt({ min: 0n, max: 10n ** 18n }).map(String),
      bytesOut: fc.bigInt({ min: 0n, max: 10n ** 18n }).map(String),
    })
    fc.assert(
      fc.property(fc.uniqueArray(day, { selector: (one) => one.day + one.functionName, maxLength: 9 }), fc.boolean(), (given, free) => {
        const days = given.map((one) => dayOf(one.day, one.functionName, one)).sort((a, b) => (a.day < b.day ? -1 : 1))
        const prices = list(free ? { free: { executions: 1_000, gbSeconds: 10, gbIn: 1, gbOut: 1 } } : {})
        const nano = (cost: string) => BigInt(cost.replace('.', ''))
        const totals = (['day,function', 'day', 'function'] as const).map((by) => billOf(days, '2026-07-01', prices, by))
        for (const { usage, total } of totals) {
          assert.equal(
            usage.reduce((sum, row) => sum + nano(row.cost), 0n),
            nano(total.cost),
          )
          assert.equal(total.cost, totals[0]?.total.cost)
        }
      }),
    )
  })
})

describe('what is for nothing', () => {
  const prices = list({ perMillionExecutions: '1000000', free: { executions: 10 } })
  it('is taken by the earliest days of a month, also those before the first that was asked for', () => {
    const days = [
      dayOf('2026-07-01', 'f', { executions: '6' }),
      dayOf('2026-07-02', 'f', { executions: '3' }),
      dayOf('2026-07-02', 'g', { executions: '3' }),
      dayOf('2026-08-01', 'f', { executions: '11' }),
    ]
    const { usage, total } = billOf(days, '2026-07-02', prices, 'day,function')
    assert.deepEqual(
      usage.map(({ day, functionName, cost }) => [day, functionName, cost]),
      [
        ['2026-08-01', 'f', '1.000000000'],
        ['2026-07-02', 'f', '0.000000000'],
        ['2026-07-02', 'g', '2.000000000'],
      ],
    )
    assert.deepEqual([total.executions, total.cost], [17, '3.000000000'])
  })
})
