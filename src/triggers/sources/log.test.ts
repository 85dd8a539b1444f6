import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, afterEach, before, describe, it } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { LIMITS } from '../../core/limits.ts'
import { silentLog } from '../../core/log.ts'
import type { ProjectRef } from '../../core/project.ts'
import type { TriggerSpec } from '../../core/trigger-spec.ts'
import { eventSourceConformance } from '../source-conformance.ts'
import { noteUnseen } from '../log/unseen.ts'
import { openPlace, type Place } from '../triggers-fixture.ts'

const DEMO = 'demo' as ProjectRef

interface Told {
  readonly functionName?: string
  readonly version?: string
  readonly depth?: number
  readonly project?: string
  readonly at?: number
}

/** Lines of a call, stored when it resolves. */
const write = async (
  { logs }: Place,
  texts: readonly string[],
  { functionName = 'api', version = '$LATEST', depth = 0, project = 'demo', at = Date.now() }: Told = {},
) => {
  const lines = texts.map((text) => ({ at, source: 'stdout' as const, text }))
  logs.write({ project, functionName, version, invocationId: randomUUID(), lines, ...(depth > 0 ? { depth } : {}) })
  await logs.catchUp()
}

eventSourceConformance({
  kind: 'log',
  trigger: { log: { function: 'api', pattern: 'ERROR', batchSize: 100 } },
  cause: async (place, n) => {
    await write(place, ['fine', `ERROR ${n}`])
    await write(place, ['ERROR of another'], { functionName: 'another' })
  },
  crashes: ['beforeLinesCommit', 'afterLinesCommit'],
})

describe('lines of logs', () => {
  let place: Place
  before(async () => {
    place = await openPlace()
  })
  after(async () => {
    await place.close()
  })
  afterEach(() => place.clear())

  const watch = async (log: Partial<NonNullable<TriggerSpec['log']>>, name = 'watch', changes: Parameters<Place['open']>[0] = {}) => {
    await place.addFunction(name)
    const triggers = place.open(changes)
    await triggers.put(DEMO, name, [{ log: { function: 'api', batchSize: 100, format: 'plain', ...log } }])
    return triggers
  }
  const events = async () =>
    (await place.queued())
      .map(({ payload }) => JSON.parse(payload) as { function: string; version: string; lines: { id: string; text: string; source: string }[] })
      .toSorted((one, other) => Number(BigInt(one.lines[0]?.id ?? 0) - BigInt(other.lines[0]?.id ?? 0)))
  const texts = async () => (await events()).map(({ lines }) => lines.map(({ text }) => text))
  const letters = () => place.databases.control.sql<{ name: string; reason: string }>`select function_name as name, reason from mayfly.dead_letter`

  it('come as a subscription of CloudWatch Logs tells them', async () => {
    const triggers = await watch({ format: 'cloudwatch', pattern: '{ $.level = "error" }' })
    await write(place, ['{"level":"info"}', '{"level":"error","n":1}', 'plain', '2026-01-01T00:00:00Z\tid\tERROR\t{"level":"error","n":2}'], {
      at: 1_700_000_000_000,
    })
    await triggers.once(DEMO)
    const [queued] = await place.queued()
    const { awslogs } = JSON.parse(queued?.payload ?? '{}') as { awslogs: { data: string } }
    const { logEvents, ...rest } = JSON.parse(gunzipSync(Buffer.from(awslogs.data, 'base64')).toString()) as {
      logEvents: { id: string; timestamp: number; message: string }[]
    }
    const [trigger] = await triggers.of(DEMO, 'watch')
    assert.partialDeepStrictEqual(rest, { messageType: 'DATA_MESSAGE', owner: '000000000000', logGroup: '/aws/lambda/api', subscriptionFilters: [trigger?.id] })
    assert.match((rest as unknown as { logStream: string }).logStream, /^2023\/11\/14\/\[\$LATEST\][0-9a-f]{32}$/)
    assert.deepEqual(
      logEvents.map(({ timestamp, message }) => [timestamp, message.split('\t').at(-1)]),
      [
        [1_700_000_000_000, '{"level":"error","n":1}'],
        [1_700_000_000_000, '{"level":"error","n":2}'],
      ],
    )
    assert.ok(logEvents.every(({ id }) => /^\d{56}$/.test(id)) && (logEvents[0]?.id ?? '') < (logEvents[1]?.id ?? ''))
  })

  it('of each function but the one that is started, each batch of one function and version', async () => {
    const triggers = await watch({ function: '*' })
    await write(place, ['a'])
    await write(place, ['own'], { functionName: 'watch' })
    await write(place, ['b'], { functionName: 'other', version: '2' })
    await write(place, ['c'])
    await triggers.once(DEMO)
    assert.deepEqual(
      (await events()).map(({ function: name, version, lines }) => [name, version, ...lines.map(({ text }) => text)]),
      [
        ['api', '$LATEST', 'a', 'c'],
        ['other', '2', 'b'],
      ],
    )
  })

  it('in batches by their count, and within the window when they are fewer', async () => {
    const triggers = await watch({ batchSize: 2, windowSeconds: 300 })
    await write(place, ['1'])
    await triggers.once(DEMO)
    assert.deepEqual(await texts(), [], 'it waits for more')
    await write(place, ['2', '3'])
    await triggers.once(DEMO)
    assert.deepEqual(await texts(), [['1', '2'], ['3']])
    await write(place, ['4'], { at: Date.now() - 301_000 })
    await triggers.once(DEMO)
    assert.deepEqual(await texts(), [['1', '2'], ['3'], ['4']])
  })

  it('of more than a page come all and once, in their order', async () => {
    const triggers = await watch({ batchSize: 1_000, pattern: 'take' })
    const wide = 'x'.repeat(60_000)
    for (let n = 0; n < 450; n++) {
      const lines = [{ at: Date.now(), source: 'stdout' as const, text: `${n % 3 === 0 ? 'take' : 'leave'} ${n} ${n % 20 === 0 ? wide : ''}` }]
      place.logs.write({ project: 'demo', functionName: 'api', version: '$LATEST', invocationId: randomUUID(), lines })
    }
    await place.logs.catchUp()
    let passes = 0
    for (let had = -1; had < 150 && passes < 20; passes++) {
      await triggers.once(DEMO)
      had = (await texts()).flat().length
    }
    assert.ok(passes > 2, 'it took several pages')
    const taken = (await texts()).flat().map((text) => Number(text.split(' ')[1]))
    assert.deepEqual(
      taken,
      Array.from({ length: 150 }, (_, n) => n * 3),
    )
    const ids = (await events()).flatMap(({ lines }) => lines.map(({ id }) => id))
    assert.equal(new Set(ids).size, 150)
  })

  it('that are too many for one event are more events, whatever is in them', async () => {
    const most = place.queue.maxPayloadBytes('demo')
    const triggers = await watch({ batchSize: 1_000, format: 'cloudwatch' })
    const text = Array.from({ length: 60_000 }, () => String.fromCharCode(33 + Math.floor(Math.random() * 94))).join('')
    const lines = Math.ceil(most / 60_000) + 1
    for (let n = 0; n < lines; n++) await write(place, [`${n} ${text}`])
    for (let pass = 0; pass < 5; pass++) await triggers.once(DEMO)
    const queued = await place.queued()
    const told = queued.map(({ payload }) => (JSON.parse(payload) as { awslogs: { data: string } }).awslogs.data)
    const messages = told.flatMap((data) => (JSON.parse(gunzipSync(Buffer.from(data, 'base64')).toString()) as { logEvents: unknown[] }).logEvents)
    assert.deepEqual([messages.length, queued.length > 1], [lines, true])
    assert.ok(queued.every(({ payload }) => payload.length <= most))
  })

  it('of calls that wrote nothing are those of the platform', async () => {
    const triggers = await watch({ pattern: 'REPORT' })
    const id = randomUUID()
    place.logs.quiet({ project: 'demo', functionName: 'api', version: '$LATEST' }, [id, 1, 2, 1, 1, 128, null, 0, null])
    await place.logs.catchUp()
    await triggers.once(DEMO)
    const [event] = await events()
    assert.deepEqual(
      event?.lines.map(({ source, text }) => [source, text.startsWith(`REPORT RequestId: ${id}`)]),
      [['platform', true]],
    )
  })

  it('of its own log start no function, and others in a loop no more than LIMITS.callDepth', async () => {
    await assert.rejects(watch({ function: 'self' }, 'self'), { code: 'bad_request', message: /its own log/ })
    const triggers = await watch({ function: '*' })
    const last = LIMITS.callDepth.value - 1
    await write(place, ['goes'], { depth: last - 1 })
    await write(place, ['ends'], { depth: last })
    await write(place, ['begins'])
    await triggers.once(DEMO)
    assert.deepEqual(await texts(), [['goes'], ['begins']])
    const depths = await place.databases.control.sql<{ depth: number }>`select depth from mayfly.entry_payload order by depth`
    assert.deepEqual(
      depths.map(({ depth }) => depth),
      [1, last],
    )
    assert.deepEqual(await letters(), [{ name: 'watch', reason: 'recursion' }])
    const loops = place.open({ loopers: async () => new Set(['watch']) })
    await write(place, ['goes on'], { depth: last })
    await loops.once(DEMO)
    assert.deepEqual((await texts()).at(-1), ['goes on'])
  })

  it('are none of another project, nor of before', async () => {
    await place.addProject('another')
    await write(place, ['before'])
    const triggers = await watch({})
    await write(place, ['theirs'], { project: 'another' })
    await triggers.once(DEMO)
    assert.deepEqual(await texts(), [])
    await write(place, ['mine'])
    await triggers.once(DEMO)
    assert.deepEqual(await texts(), [['mine']])
  })

  it('that the log gives up before they were looked at are counted with each trigger that waits for them', async () => {
    const told: object[] = []
    const log = { ...silentLog, warn: (about: object) => void told.push(about) } as typeof silentLog
    const triggers = await watch({ pattern: 'ERROR' })
    await watch({ function: '*' }, 'all')
    await watch({ function: 'quiet' }, 'none')
    await write(place, ['ERROR seen'])
    await triggers.once(DEMO)
    await write(place, ['ERROR 1', 'fine'])
    await write(place, ['more'], { functionName: 'other' })
    await write(place, ['its own'], { functionName: 'all' })
    const small = place.smallLog((tx, gone) => noteUnseen(tx, gone, log))
    await small.sweep()
    const unseen = async () => (await triggers.list(DEMO)).map(({ function: name, unseen: lines }) => [name, lines])
    const counted = [
      ['all', 3],
      ['none', 0],
      ['watch', 2],
    ]
    assert.deepEqual(await unseen(), counted)
    assert.equal(await triggers.unseenLines(), 5)
    assert.deepEqual(told.map((one) => (one as { function: string }).function).toSorted(), ['all', 'watch'])
    await triggers.once(DEMO)
    await small.sweep()
    assert.deepEqual(await unseen(), counted, 'what was looked at is none of it')
    await small[Symbol.asyncDispose]()
  })

  it('wait while the queue takes none', async () => {
    const triggers = await watch({})
    await write(place, ['kept'])
    const full = place.open({
      queue: {
        enqueueIn: () => Promise.reject(new Error('full')),
        stillThere: async () => new Set(),
        pausedOf: async () => new Map(),
        maxPayloadBytes: () => 1_000_000,
        turnOf: async () => {},
      },
    })
    await assert.rejects(full.once(DEMO), /full/)
    await triggers.once(DEMO)
    assert.deepEqual(await texts(), [['kept']])
  })
})
