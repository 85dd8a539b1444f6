import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { COLD_REASONS, DURATION_BOUNDS_MS, InvocationCounters, OUTCOMES, PARTS } from '../core/counters.ts'
import type { MeterRecord } from '../core/meter.ts'
import { METRICS, metricsPage, type MetricsSources, render } from './metrics.ts'

interface Family {
  readonly type: string
  readonly samples: Map<string, number>
}

/** Strict: every line has its place, every sample its family, no family and no sample stands twice. */
function parse(page: string): Map<string, Family> {
  assert.ok(page.endsWith('\n') && !page.endsWith('\n\n'))
  const families = new Map<string, Family>()
  let help: string | null = null
  let open: string | null = null
  for (const line of page.slice(0, -1).split('\n')) {
    const head = /^# (HELP|TYPE) ([a-z_][a-z0-9_]*) (.+)$/.exec(line)
    if (head) {
      const [, kind, name, rest] = head as unknown as [string, string, string, string]
      if (kind === 'HELP') {
        assert.ok(!families.has(name), `${name} stands twice`)
        assert.match(rest, /^(?:[^\\]|\\\\|\\n)+$/)
        help = name
      } else {
        assert.equal(name, help, 'TYPE follows its HELP')
        assert.match(rest, /^(counter|gauge|histogram)$/)
        families.set(name, { type: rest, samples: new Map() })
        open = name
      }
      continue
    }
    const sample = /^([a-z_][a-z0-9_]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\\\|\\"|\\n)*",?)+)\})? (-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?))$/.exec(line)
    assert.ok(sample, `no sample: ${line}`)
    const [, name, labels = '', value] = sample as unknown as [string, string, string | undefined, string]
    const family = families.get(open ?? '')
    assert.ok(family && open)
    const suffixes = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
    assert.ok(
      suffixes.some((suffix) => name === open + suffix),
      `${name} stands below ${open}`,
    )
    assert.ok(!labels.endsWith(','))
    assert.ok(!family.samples.has(`${name}{${labels}}`), `${line} stands twice`)
    family.samples.set(`${name}{${labels}}`, Number(value))
  }
  return families
}

const record = (more: Partial<MeterRecord>): MeterRecord => ({
  invocationId: '',
  attempt: 1,
  project: 'demo',
  functionName: 'f',
  version: '1',
  startedAt: 0,
  outcome: 'ok',
  durationMs: 3,
  billedMs: 4,
  memoryMb: 128,
  maxMemoryMb: null,
  cold: null,
  queueMs: null,
  waitMs: 0,
  initMs: 0,
  responseMs: 0,
  bytesIn: 10,
  bytesOut: 20,
  ...more,
})

const sources = (more: Partial<MetricsSources> = {}): MetricsSources => ({
  invocations: new InvocationCounters(),
  admission: () => ({ running: 2, limit: 200, waiting: 4, refused: { node: 1, function: 0, reserved: 6 } }),
  provisioned: () => ({ wanted: 3, loaded: 2 }),
  queue: async () => ({ waiting: 5, running: 2, deadLetters: 3, backlog: 4 }),
  sandboxes: () => ({
    waiting: [
      { runtime: 'nodejs24.x', booted: 3, wanted: 4 },
      { runtime: 'python3.x', booted: 0, wanted: 1 },
    ],
    memory: { budgetMb: 2, machine: { availableMb: 3, isShort: true } },
    ended: { 'idle-drop': 4, memory: 1, pressure: 0, retired: 0, used: 0, timeout: 0, lost: 2 },
    sandboxes: [
      { project: 'demo', functionName: 'a', state: 'busy', memoryMb: 256, usedMb: 100, limitMb: 256 },
      { project: 'demo', functionName: 'a', state: 'frozen', memoryMb: 40, usedMb: 40, limitMb: 256 },
      { project: 'demo', functionName: 'b', state: 'frozen', memoryMb: 60, usedMb: null, limitMb: 128 },
    ],
  }),
  journals: async () => [
    { name: 'logs', bytes: 100, dropped: 1, writable: false },
    { name: 'meters', bytes: 200, dropped: 0, writable: true },
  ],
  logLinesDropped: () => 7,
  logLinesUnseen: async () => 3,
  disk: () => [{ place: { name: 'the data directory' }, freeBytes: 5e9, reserve: 2e9 }],
  serversRunning: async () => 2,
  process: () => ({ residentBytes: 7e7, heapBytes: 2e7, cpuSeconds: 1.5, startedAt: 1_700_000_000_000 }),
  workers: () => ({ wanted: 2, ready: 1, restarts: 3 }),
  lag: () => [{ quantile: 0.99, seconds: 0.000001 }],
  realtime: () => ({ sockets: 3, channels: 5, received: 8, delivered: 13, cut: 1 }),
  ...more,
})

describe('the metrics page', () => {
  it('holds every metric of the catalogue, with its type, and no other', async () => {
    const families = parse(await metricsPage(sources()))
    assert.deepEqual(
      [...families].map(([name, { type }]) => [name, type]),
      Object.entries(METRICS).map(([name, { type }]) => [name, type]),
    )
    for (const [name, { samples }] of families) assert.ok(samples.size > 0, name)
    for (const name of families.keys()) assert.equal(name.endsWith('_total'), families.get(name)?.type === 'counter', `${name}: counters alone end in _total`)
  })
  it('says what the node is', async () => {
    const families = parse(await metricsPage(sources()))
    const at = (name: string, sample = `${name}{}`) => families.get(name)?.samples.get(sample)
    assert.deepEqual([at('mayfly_invocations_running'), at('mayfly_invocations_limit')], [2, 200])
    const pool = (name: string, runtime: string) => at(name, `${name}{runtime="${runtime}"}`)
    assert.deepEqual([pool('mayfly_pool_size', 'nodejs24.x'), pool('mayfly_pool_waiting', 'nodejs24.x'), pool('mayfly_pool_waiting', 'python3.x')], [4, 3, 0])
    const own = (name: string, labels: string) => at(name, `${name}{project="demo",function="a",${labels}}`)
    assert.deepEqual([own('mayfly_function_sandboxes', 'state="busy"'), own('mayfly_function_sandboxes', 'state="frozen"')], [1, 1])
    assert.deepEqual(
      ['charged', 'used', 'limit'].map((of) => own('mayfly_function_sandboxes_memory_bytes', `of="${of}"`)),
      [296, 140, 512].map((mb) => mb * 1024 * 1024),
    )
    assert.equal(at('mayfly_sandboxes_used_bytes'), 140 * 1024 * 1024)
    assert.deepEqual([at('mayfly_sandboxes', 'mayfly_sandboxes{state="frozen"}'), at('mayfly_sandboxes', 'mayfly_sandboxes{state="ready"}')], [2, 0])
    assert.equal(at('mayfly_sandboxes_ended_total', 'mayfly_sandboxes_ended_total{reason="idle-drop"}'), 4)
    assert.equal(at('mayfly_sandboxes_memory_budget_bytes'), 2 * 1024 * 1024)
    assert.equal(at('mayfly_invocations_refused_total', 'mayfly_invocations_refused_total{limit="reserved"}'), 6)
    assert.equal(at('mayfly_provisioned_sandboxes', 'mayfly_provisioned_sandboxes{state="loaded"}'), 2)
    assert.deepEqual([at('mayfly_journal_writable', 'mayfly_journal_writable{journal="logs"}'), at('process_start_time_seconds')], [0, 1_700_000_000])
    assert.equal(at('mayfly_event_loop_lag_seconds', 'mayfly_event_loop_lag_seconds{quantile="0.99"}'), 0.000001)
  })
  it('counts each invocation under its outcome and its reason, and its duration once', async () => {
    const invocations = new InvocationCounters()
    invocations.count(record({}))
    invocations.count(record({ durationMs: 1, cold: 'first-call' }))
    invocations.count(record({ outcome: 'timeout', durationMs: 900_001 }))
    invocations.count(record({ outcome: 'error', cold: 'a reason of tomorrow' }))
    invocations.count(record({ outcome: 'cut', durationMs: 0, billedMs: 0 }))
    const families = parse(await metricsPage(sources({ invocations })))
    const total = families.get('mayfly_invocations_total')?.samples as Map<string, number>
    assert.equal(total.size, OUTCOMES.length * COLD_REASONS.length)
    assert.deepEqual(
      [...total].filter(([, value]) => value > 0),
      [
        ['mayfly_invocations_total{outcome="ok",cold="none"}', 1],
        ['mayfly_invocations_total{outcome="ok",cold="first-call"}', 1],
        ['mayfly_invocations_total{outcome="error",cold="other"}', 1],
        ['mayfly_invocations_total{outcome="timeout",cold="none"}', 1],
        ['mayfly_invocations_total{outcome="cut",cold="none"}', 1],
      ],
    )
    const durations = [...(families.get('mayfly_invocation_duration_seconds')?.samples ?? [])]
    const buckets = durations.slice(0, DURATION_BOUNDS_MS.length + 1).map(([, value]) => value)
    assert.deepEqual(buckets, [1, 1, ...Array(DURATION_BOUNDS_MS.length - 2).fill(3), 4], 'each bound holds what is below it too')
    assert.deepEqual(durations.slice(-3), [
      ['mayfly_invocation_duration_seconds_bucket{le="+Inf"}', 4],
      ['mayfly_invocation_duration_seconds_sum{}', (3 + 1 + 900_001 + 3) / 1000],
      ['mayfly_invocation_duration_seconds_count{}', 4],
    ])
    assert.equal(families.get('mayfly_invocation_billed_seconds_total')?.samples.get('mayfly_invocation_billed_seconds_total{}'), 0.016)
  })
  it('counts each part of an invocation where it has one: the queue of queued ones, the init of cold ones', async () => {
    const invocations = new InvocationCounters()
    invocations.count(record({ durationMs: 30, responseMs: 27 }))
    invocations.count(record({ queueMs: 70_000, waitMs: 8, initMs: 90, durationMs: 40, cold: 'scale-out' }))
    invocations.count(record({ outcome: 'cut', queueMs: 5, waitMs: 9, durationMs: 0 }))
    const samples = parse(await metricsPage(sources({ invocations }))).get('mayfly_invocation_part_seconds')?.samples as Map<string, number>
    const of = (part: string, suffix: string) => samples.get(`mayfly_invocation_part_seconds_${suffix}{part="${part}"}`)
    const both = (part: string) => [of(part, 'count'), of(part, 'sum')]
    assert.deepEqual(both('queue'), [1, 70])
    assert.deepEqual(both('sandbox'), [2, 0.008])
    assert.deepEqual(both('init'), [1, 0.09])
    assert.deepEqual(both('run'), [2, 0.043])
    assert.deepEqual(both('response'), [2, 0.027])
    assert.equal(samples.get('mayfly_invocation_part_seconds_bucket{part="response",le="0.001"}'), 1)
    assert.equal(samples.get('mayfly_invocation_part_seconds_bucket{part="queue",le="60"}'), 0)
    assert.equal(samples.size, PARTS.length * (DURATION_BOUNDS_MS.length + 3))
  })
  it('escapes what would end a label or a line', () => {
    const page = render({ mayfly_disk_free_bytes: [{ labels: { place: 'a"b\\c\nmayfly_pool_size 1' }, value: 1 }] })
    const [sample] = [...(parse(page).get('mayfly_disk_free_bytes')?.samples.keys() ?? [])]
    assert.equal(sample, 'mayfly_disk_free_bytes{place="a\\"b\\\\c\\nmayfly_pool_size 1"}')
  })
})
