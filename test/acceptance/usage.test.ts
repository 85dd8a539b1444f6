import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly, NO_SPARE } from './harness.ts'

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const CODE = `
export const handler = async (event) => {
  const { n, ms = 0 } = event.body ? JSON.parse(event.body) : event
  if (n === 'bad') throw new TypeError('on purpose')
  await new Promise((resolve) => setTimeout(resolve, ms))
  return 'x'.repeat(1000)
}`
const PRICES = { name: 'ours', currency: 'KRW', asOf: 'today', perMillionExecutions: '1000000', perGbSecond: '2', perGbIn: '0', perGbOut: '1000000000' }

interface Total {
  readonly executions: number
  readonly errors: number
  readonly cut: number
  readonly cold: number
  readonly billedMs: number
  readonly gbSeconds: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly cost: string
}
interface Usage {
  readonly usage: readonly (Total & { readonly day: string | null; readonly functionName: string | null })[]
  readonly total: Total
  readonly prices: { readonly name: string; readonly currency: string }
}
interface Execution {
  readonly id: string
  readonly attempt: number
  readonly startedAt: string
  readonly outcome: string | null
  readonly cold: string | null
  readonly billedMs: number
  readonly memoryMb: number
  readonly bytesIn: number
  readonly bytesOut: number
}

describe('what runs is metered once and priced', () => {
  let folder = ''
  let data = ''
  let prices = ''
  let node: RunningMayfly
  const start = () => startMayfly(data, ['--empty', ...NO_SPARE, '--usage-prices', prices])
  before(async () => {
    folder = makeFolder()
    data = path.join(folder, 'data')
    prices = path.join(folder, 'prices.json')
    writeFileSync(prices, JSON.stringify(PRICES))
    node = await start()
    for (const name of ['paid', 'busy']) {
      mkdirSync(path.join(folder, name))
      writeFileSync(path.join(folder, name, 'index.mjs'), CODE)
      writeFileSync(path.join(folder, name, 'mayfly.json'), JSON.stringify({ name, memory: 128 }))
      const deployed = mayfly(['deploy', path.join(folder, name), '--data', data])
      assert.equal(deployed.code, 0, deployed.stderr)
    }
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })
  const usage = (...args: string[]): Usage => JSON.parse(mayfly(['usage', '--json', '--data', data, ...args]).stdout) as Usage
  const of = (name: string, from = usage('--by', 'function')): Total => from.usage.find((one) => one.functionName === name) as Total
  const call = (name: string, body: object): Promise<Response> =>
    fetch(`${node.ready.project.url}/functions/v1/${name}`, {
      method: 'POST',
      headers: { apikey: node.ready.project.publishableKey, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  /** All executions of a function, page by page, as the console reads them. */
  const executions = async (name: string): Promise<Execution[]> => {
    const all: Execution[] = []
    for (let before: string | null = ''; before !== null; ) {
      const at = `${node.ready.url}/api/v1/projects/demo/functions/${name}/invocations?limit=7${before === '' ? '' : `&before=${before}`}`
      const page = (await (await fetch(at, { headers: { apikey: node.ready.project.secretKey } })).json()) as { invocations: Execution[]; next: string | null }
      all.push(...page.invocations)
      before = page.next
    }
    return all
  }
  const nano = (cost: string) => BigInt(cost.replace('.', ''))

  it('counts N calls as N, by the command line and over HTTP, with errors, cold starts, bytes and cost', async () => {
    for (const n of [1, 2]) assert.equal(mayfly(['invoke', 'paid', '--data', JSON.stringify({ n }), '--data', data]).code, 0)
    assert.equal(mayfly(['invoke', 'paid', '--data', '{"n":"bad"}', '--data', data]).code, 6)
    for (let n = 0; n < 7; n++) assert.equal((await (await call('paid', { n })).text()).length, 1_000)
    const paid = of('paid')
    assert.deepEqual([paid.executions, paid.errors, paid.cut], [10, 1, 0])
    assert.ok(paid.cold >= 1 && paid.cold <= 3, `${paid.cold} cold`)
    // What was asked and answered, a little more for JSON's quotes and the error's own reply.
    assert.ok(paid.bytesIn >= 7 * 7 && paid.bytesIn < 1_000, `${paid.bytesIn} in`)
    assert.ok(paid.bytesOut >= 9_000 && paid.bytesOut < 11_000, `${paid.bytesOut} out`)
    assert.equal(paid.gbSeconds, (paid.billedMs * 128) / 1_024_000)
    const expected = 10 + 2 * paid.gbSeconds + paid.bytesOut
    assert.ok(Math.abs(Number(paid.cost) - expected) < 1e-6, `${paid.cost} for ${expected}`)
  })
  it('counts the body of a fetch handler, short or streamed, whoever reads it when', async () => {
    mkdirSync(path.join(folder, 'web'))
    writeFileSync(
      path.join(folder, 'web', 'index.mjs'),
      `export default { fetch: async (request) => {
        const { sizes } = await request.json()
        return new Response(new ReadableStream({ async pull(to) {
          const size = sizes.shift()
          if (size === undefined) return to.close()
          to.enqueue(new Uint8Array(size))
        } }))
      } }`,
    )
    assert.equal(mayfly(['deploy', path.join(folder, 'web'), '--data', data]).code, 0)
    const bodies = [[5], [13_000], [300_000, 300_000, 1], []].map((sizes) => JSON.stringify({ sizes }))
    for (const body of bodies) await (await call('web', JSON.parse(body) as object)).arrayBuffer()
    const { executions, bytesIn, bytesOut } = of('web')
    assert.deepEqual([executions, bytesIn, bytesOut], [4, bodies.join('').length, 613_006])
  })
  it('lists each execution; their sum is the bill', async () => {
    const listed = await executions('paid')
    const paid = of('paid')
    const sum = (what: (one: Execution) => number) => listed.reduce((all, one) => all + what(one), 0)
    assert.equal(new Set(listed.map((one) => one.id)).size, paid.executions)
    assert.deepEqual(
      listed.map((one) => one.startedAt),
      listed
        .map((one) => one.startedAt)
        .toSorted()
        .toReversed(),
    )
    assert.deepEqual([sum((one) => one.billedMs), sum((one) => one.bytesIn), sum((one) => one.bytesOut)], [paid.billedMs, paid.bytesIn, paid.bytesOut])
    assert.equal(listed.at(-1)?.cold, 'first-call')
    assert.equal(listed.filter((one) => one.outcome === 'error').length, 1)
  })
  it('shows it as a table with a total, by function, by day, and names the price list', () => {
    const { stdout } = mayfly(['usage', '--data', data])
    assert.match(stdout, /^DAY +FUNCTION +EXECUTIONS +ERRORS +COLD +GB-SECONDS +IN +OUT +EGRESS IN +EGRESS OUT +COST \(KRW\)$/m)
    assert.match(stdout, /^\d{4}-\d\d-\d\d +paid +10 +1 /m)
    assert.match(stdout, /^total +14 +1 /m)
    assert.match(stdout, /^Priced by: ours, today\.$/m)
    assert.match(mayfly(['usage', '--by', 'function', '--data', data]).stdout, /^FUNCTION +EXECUTIONS[\s\S]*^paid +10 /m)
    assert.match(mayfly(['usage', '--by', 'day', '--data', data]).stdout, /^DAY +EXECUTIONS[\s\S]*^\d{4}-\d\d-\d\d +14 /m)
    const wrong = mayfly(['usage', '--by', 'week', '--data', data])
    assert.deepEqual([wrong.code, wrong.stderr.trim()], [2, '--by must be day or function'])
  })
  it('counts what was answered exactly once over kill -9, and what was cut not at all', async () => {
    let answered = 0
    let sent = 0
    for (let life = 0; life < 3; life++) {
      const calling = Array.from({ length: 6 }, async () => {
        for (let n = 0; n < 30; n++) {
          sent++
          const reply = await call('busy', { n, ms: 20 })
          await reply.arrayBuffer()
          if (reply.status === 200) answered++
        }
      }).map((one) => one.catch(() => {})) // the node died under it
      // Some are answered in each life, however slow the machine is.
      const wanted = answered + 8
      for (const end = Date.now() + 20_000; answered < wanted && Date.now() < end; ) await pause(10)
      await pause(Math.random() * 500)
      await node.kill()
      await Promise.all(calling)
      node = await start()
    }
    const busy = of('busy')
    assert.ok(answered > 20, `${answered} were answered`)
    assert.ok(
      busy.executions >= answered && busy.executions + busy.cut <= sent,
      `${answered} answered, ${busy.executions} counted, ${busy.cut} cut, ${sent} sent`,
    )
    const listed = await executions('busy')
    const ran = listed.filter((one) => one.outcome !== 'cut')
    const sum = (what: (one: Execution) => number) => ran.reduce((all, one) => all + what(one), 0)
    assert.equal(new Set(listed.map((one) => `${one.id}/${one.attempt}`)).size, listed.length)
    assert.deepEqual([ran.length, listed.length - ran.length], [busy.executions, busy.cut])
    assert.deepEqual([sum((one) => one.billedMs), sum((one) => one.bytesIn), sum((one) => one.bytesOut)], [busy.billedMs, busy.bytesIn, busy.bytesOut])
    // Nothing runs any more: another kill and start change nothing.
    const before = usage()
    await node.kill()
    node = await start()
    assert.deepEqual(usage(), before)
    assert.equal(
      before.usage.reduce((all, one) => all + nano(one.cost), 0n),
      nano(before.total.cost),
    )
  })
  it('starts with no price list that it cannot use, and says what is wrong with it', async () => {
    await node.stop()
    for (const [text, said] of [
      ['{', /The price list .*prices\.json is not JSON/],
      [JSON.stringify({ ...PRICES, perGbSecond: 2 }), /The price list .*prices\.json cannot be used: perGbSecond: /],
    ] as const) {
      writeFileSync(prices, text)
      await assert.rejects(start(), (error: Error) => /ended with 2:/.test(error.message) && said.test(error.message))
    }
    const other = { ...PRICES, name: 'new', perMillionExecutions: '0', perGbSecond: '0', perGbOut: '0' }
    writeFileSync(prices, JSON.stringify(other))
    node = await start()
    assert.deepEqual([usage().prices.name, usage().total.cost], ['new', '0.000000000'])
  })
})
