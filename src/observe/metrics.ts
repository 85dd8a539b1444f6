import { MiB } from '../lib/bytes.ts'
import { COLD_REASONS, type Counted, DURATION_BOUNDS_MS, type InvocationCounters, OUTCOMES, PARTS } from '../core/counters.ts'

interface Metric {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels?: string
}

/** Every metric of the page; docs/metrics.md is made from it. Names and units are Prometheus' own custom: base units, `_total` for what only grows. */
export const METRICS = {
  mayfly_invocations_total: {
    type: 'counter',
    help: 'Invocations that ended, by outcome and by why no sandbox was ready (none: one was).',
    labels: `outcome: ${OUTCOMES.join(', ')}; cold: ${COLD_REASONS.join(', ')}`,
  },
  mayfly_invocation_duration_seconds: { type: 'histogram', help: 'How long invocations ran, without waiting and loading.' },
  mayfly_invocation_part_seconds: {
    type: 'histogram',
    help: 'Where the time of invocations went: in the queue since their event was taken (those that were queued), waiting for a sandbox, loading (cold ones), until the answer, and from there to the last byte and the end of waitUntil.',
    labels: `part: ${PARTS.join(', ')}`,
  },
  mayfly_invocation_billed_seconds_total: { type: 'counter', help: 'Billed time of all invocations.' },
  mayfly_invocation_received_bytes_total: { type: 'counter', help: 'Bytes of request bodies that went into functions.' },
  mayfly_invocation_sent_bytes_total: { type: 'counter', help: 'Bytes of replies that came out of functions.' },
  mayfly_invocations_running: { type: 'gauge', help: 'Invocations that run now.' },
  mayfly_invocations_limit: { type: 'gauge', help: 'How many invocations may run at once on this node.' },
  mayfly_invocations_refused_total: {
    type: 'counter',
    help: "Invocations that were refused with 429, by the limit that they met: of the node, the project's share of a full node, of the project, of any one function, or what the function has reserved.",
    labels: 'limit: node, share, project, function, reserved',
  },
  mayfly_invocations_waiting: { type: 'gauge', help: 'Calls that wait for their turn on a full function, project or node.' },
  mayfly_queue_waiting: { type: 'gauge', help: 'Queued invocations that wait for their run.' },
  mayfly_queue_running: { type: 'gauge', help: 'Queued invocations that run now.' },
  mayfly_dead_letters: { type: 'gauge', help: 'Queued invocations that were given up and are kept to be replayed.' },
  mayfly_relay_backlog: { type: 'gauge', help: 'Events that were seen in the outboxes of projects and are not in the queue yet.' },
  mayfly_sandboxes: { type: 'gauge', help: 'Sandboxes that serve a version, by state.', labels: 'state: ready, busy, freezing, frozen, draining' },
  mayfly_sandboxes_memory_bytes: { type: 'gauge', help: 'Memory that these sandboxes count with against the budget.' },
  mayfly_sandboxes_memory_budget_bytes: { type: 'gauge', help: 'Memory that these sandboxes may have together.' },
  mayfly_sandboxes_ended_total: {
    type: 'counter',
    help: 'Sandboxes that ended, by why: unused for long; in the way of another that needed the memory; idle while the machine was short of memory; of a version or environment that is over; after the only call that each serves; with a call that ran out of time; died.',
    labels: 'reason: idle-drop, memory, pressure, retired, used, timeout, lost',
  },
  mayfly_machine_memory_available_bytes: { type: 'gauge', help: 'Memory of the machine, or of the group that the node is confined to, that is available.' },
  mayfly_machine_memory_short: { type: 'gauge', help: '1 while the machine is short of memory: then idle sandboxes end, the oldest first.' },
  mayfly_sandboxes_used_bytes: { type: 'gauge', help: 'Memory that these sandboxes use now, as the kernel counts it.' },
  mayfly_function_sandboxes: {
    type: 'gauge',
    help: 'Sandboxes that serve a function, by state; functions without any are left out.',
    labels: 'project; function; state: as of mayfly_sandboxes',
  },
  mayfly_function_sandboxes_memory_bytes: {
    type: 'gauge',
    help: 'Memory of these sandboxes: what they count with against the budget, what they use now, and their limits.',
    labels: 'project; function; of: charged, used, limit',
  },
  mayfly_provisioned_sandboxes: {
    type: 'gauge',
    help: 'Sandboxes that are to be kept loaded for their versions, and those of them that are.',
    labels: 'state: wanted, loaded',
  },
  mayfly_pool_size: { type: 'gauge', help: 'How many generic sandboxes are wanted waiting.', labels: 'runtime' },
  mayfly_pool_waiting: { type: 'gauge', help: 'Generic sandboxes that are booted and wait for a function.', labels: 'runtime' },
  mayfly_journal_bytes: { type: 'gauge', help: 'Bytes of the journal on disk.', labels: 'journal: logs, meters' },
  mayfly_journal_dropped_total: {
    type: 'counter',
    help: 'Records that could not be written, or that the database refused for what stands in them.',
    labels: 'journal: logs, meters',
  },
  mayfly_journal_writable: { type: 'gauge', help: '1 when the last write to the journal succeeded.', labels: 'journal: logs, meters' },
  mayfly_log_lines_dropped_total: { type: 'counter', help: 'Lines of functions that were dropped because their project wrote too fast.' },
  mayfly_log_lines_unseen_total: {
    type: 'counter',
    help: 'Lines of functions that the log gave up before a trigger that is there now had looked at them: they started nothing.',
  },
  mayfly_disk_free_bytes: { type: 'gauge', help: 'Free space of the file systems of the data directory.', labels: 'place: the folder that lies on it' },
  mayfly_disk_reserve_bytes: { type: 'gauge', help: 'Free space below which deploys and uploads are refused.', labels: 'place: the folder that lies on it' },
  mayfly_postgresql_servers_running: { type: 'gauge', help: 'PostgreSQL servers of this node that run; 0 with an external one.' },
  mayfly_realtime_sockets: { type: 'gauge', help: 'Open WebSockets of realtime clients.' },
  mayfly_realtime_channels: { type: 'gauge', help: 'Places of sockets in channels.' },
  mayfly_realtime_messages_total: { type: 'counter', help: 'Messages of realtime: taken from clients, and handed to them.', labels: 'direction: in, out' },
  mayfly_realtime_cut_total: { type: 'counter', help: 'Readers that were too slow and were cut.' },
  mayfly_workers: {
    type: 'gauge',
    help: 'Processes that run functions beside the main one: those that should, and those that take calls.',
    labels: 'state: wanted, ready',
  },
  mayfly_worker_restarts_total: { type: 'counter', help: 'Workers that ended and were started again.' },
  process_resident_memory_bytes: { type: 'gauge', help: 'Resident memory of the node, without PostgreSQL and sandboxes.' },
  process_heap_bytes: { type: 'gauge', help: 'Used heap of the node.' },
  process_cpu_seconds_total: { type: 'counter', help: 'Processor time of the node, without PostgreSQL and sandboxes.' },
  process_start_time_seconds: { type: 'gauge', help: 'When the node started, in seconds since 1970.' },
  mayfly_event_loop_lag_seconds: {
    type: 'gauge',
    help: 'How late the event loop was since the page was asked for last.',
    labels: 'quantile: 0.5, 0.99, 1',
  },
} as const satisfies Record<string, Metric>

export type MetricName = keyof typeof METRICS
export interface Sample {
  readonly value: number
  readonly labels?: Readonly<Record<string, string>>
  /** Of a histogram: `_bucket`, `_sum` or `_count`. */
  readonly suffix?: string
}

/** Numbers of the node as they stand when the page is asked for. */
export interface MetricsSources {
  readonly invocations: InvocationCounters
  readonly admission: () => { readonly running: number; readonly limit: number; readonly waiting: number; readonly refused: Readonly<Record<string, number>> }
  readonly provisioned: () => { readonly wanted: number; readonly loaded: number }
  readonly queue: () => Promise<{ readonly waiting: number; readonly running: number; readonly deadLetters: number; readonly backlog: number }>
  readonly sandboxes: () => {
    readonly waiting: readonly { readonly runtime: string; readonly booted: number; readonly wanted: number }[]
    readonly memory: { readonly budgetMb: number; readonly machine: { readonly availableMb: number; readonly isShort: boolean } | null }
    readonly ended: Readonly<Record<string, number>>
    readonly sandboxes: readonly MeasuredSandbox[]
  }
  readonly journals: () => Promise<readonly { readonly name: string; readonly bytes: number; readonly dropped: number; readonly writable: boolean }[]>
  readonly logLinesDropped: () => number
  readonly logLinesUnseen: () => Promise<number>
  readonly disk: () => readonly { readonly place: { readonly name: string }; readonly freeBytes: number; readonly reserve: number }[]
  readonly serversRunning: () => Promise<number>
  readonly process: () => { readonly residentBytes: number; readonly heapBytes: number; readonly cpuSeconds: number; readonly startedAt: number }
  readonly realtime: () => { readonly sockets: number; readonly channels: number; readonly received: number; readonly delivered: number; readonly cut: number }
  readonly workers: () => { readonly wanted: number; readonly ready: number; readonly restarts: number }
  readonly lag: () => readonly { readonly quantile: number; readonly seconds: number }[]
}

/** What the page says of one sandbox. */
export interface MeasuredSandbox {
  readonly project: string
  readonly functionName: string
  readonly state: string
  readonly memoryMb: number
  readonly usedMb: number | null
  readonly limitMb: number
}

const SANDBOX_STATES = ['ready', 'busy', 'freezing', 'frozen', 'draining'] as const

/** The page in Prometheus' text format 0.0.4. */
export async function metricsPage(sources: MetricsSources): Promise<string> {
  return render(await collect(sources))
}

async function collect(sources: MetricsSources): Promise<Record<MetricName, readonly Sample[]>> {
  const { invocations } = sources
  const admission = sources.admission()
  const { waiting, memory, ended, sandboxes } = sources.sandboxes()
  const functions = byFunction(sandboxes)
  const queue = await sources.queue()
  const journals = await sources.journals()
  const disk = sources.disk()
  const own = sources.process()
  const realtime = sources.realtime()
  const workers = sources.workers()
  return {
    mayfly_invocations_total: OUTCOMES.flatMap((outcome) => COLD_REASONS.map((cold) => ({ labels: { outcome, cold }, value: invocations.of(outcome, cold) }))),
    mayfly_invocation_duration_seconds: histogram(invocations.durations(), {}),
    mayfly_invocation_part_seconds: PARTS.flatMap((part) => histogram(invocations.part(part), { part })),
    mayfly_invocation_billed_seconds_total: [{ value: invocations.billedMs / 1000 }],
    mayfly_invocation_received_bytes_total: [{ value: invocations.bytesIn }],
    mayfly_invocation_sent_bytes_total: [{ value: invocations.bytesOut }],
    mayfly_invocations_running: [{ value: admission.running }],
    mayfly_invocations_limit: [{ value: admission.limit }],
    mayfly_invocations_refused_total: Object.entries(admission.refused).map(([limit, value]) => ({ labels: { limit }, value })),
    mayfly_invocations_waiting: [{ value: admission.waiting }],
    mayfly_queue_waiting: [{ value: queue.waiting }],
    mayfly_queue_running: [{ value: queue.running }],
    mayfly_dead_letters: [{ value: queue.deadLetters }],
    mayfly_relay_backlog: [{ value: queue.backlog }],
    mayfly_sandboxes: SANDBOX_STATES.map((state) => ({ labels: { state }, value: sandboxes.filter((one) => one.state === state).length })),
    mayfly_sandboxes_memory_bytes: [{ value: megabytes(sandboxes, (one) => one.memoryMb) }],
    mayfly_sandboxes_memory_budget_bytes: [{ value: memory.budgetMb * 1024 * 1024 }],
    mayfly_sandboxes_ended_total: Object.entries(ended).map(([reason, value]) => ({ labels: { reason }, value })),
    mayfly_machine_memory_available_bytes: memory.machine === null ? [] : [{ value: memory.machine.availableMb * 1024 * 1024 }],
    mayfly_machine_memory_short: [{ value: memory.machine?.isShort ? 1 : 0 }],
    mayfly_sandboxes_used_bytes: [{ value: megabytes(sandboxes, (one) => one.usedMb ?? 0) }],
    mayfly_function_sandboxes: functions.flatMap(({ labels, own }) =>
      SANDBOX_STATES.map((state) => ({ labels: { ...labels, state }, value: own.filter((one) => one.state === state).length })),
    ),
    mayfly_function_sandboxes_memory_bytes: functions.flatMap(({ labels, own }) => [
      { labels: { ...labels, of: 'charged' }, value: megabytes(own, (one) => one.memoryMb) },
      { labels: { ...labels, of: 'used' }, value: megabytes(own, (one) => one.usedMb ?? 0) },
      { labels: { ...labels, of: 'limit' }, value: megabytes(own, (one) => one.limitMb) },
    ]),
    mayfly_provisioned_sandboxes: Object.entries(sources.provisioned()).map(([state, value]) => ({ labels: { state }, value })),
    mayfly_pool_size: waiting.map(({ runtime, wanted }) => ({ labels: { runtime }, value: wanted })),
    mayfly_pool_waiting: waiting.map(({ runtime, booted }) => ({ labels: { runtime }, value: booted })),
    mayfly_journal_bytes: journals.map(({ name, bytes }) => ({ labels: { journal: name }, value: bytes })),
    mayfly_journal_dropped_total: journals.map(({ name, dropped }) => ({ labels: { journal: name }, value: dropped })),
    mayfly_journal_writable: journals.map(({ name, writable }) => ({ labels: { journal: name }, value: writable ? 1 : 0 })),
    mayfly_log_lines_dropped_total: [{ value: sources.logLinesDropped() }],
    mayfly_log_lines_unseen_total: [{ value: await sources.logLinesUnseen() }],
    mayfly_disk_free_bytes: disk.map(({ place, freeBytes }) => ({ labels: { place: place.name }, value: freeBytes })),
    mayfly_disk_reserve_bytes: disk.map(({ place, reserve }) => ({ labels: { place: place.name }, value: reserve })),
    mayfly_postgresql_servers_running: [{ value: await sources.serversRunning() }],
    mayfly_realtime_sockets: [{ value: realtime.sockets }],
    mayfly_realtime_channels: [{ value: realtime.channels }],
    mayfly_realtime_messages_total: [
      { labels: { direction: 'in' }, value: realtime.received },
      { labels: { direction: 'out' }, value: realtime.delivered },
    ],
    mayfly_realtime_cut_total: [{ value: realtime.cut }],
    mayfly_workers: [
      { labels: { state: 'wanted' }, value: workers.wanted },
      { labels: { state: 'ready' }, value: workers.ready },
    ],
    mayfly_worker_restarts_total: [{ value: workers.restarts }],
    process_resident_memory_bytes: [{ value: own.residentBytes }],
    process_heap_bytes: [{ value: own.heapBytes }],
    process_cpu_seconds_total: [{ value: own.cpuSeconds }],
    process_start_time_seconds: [{ value: own.startedAt / 1000 }],
    mayfly_event_loop_lag_seconds: sources.lag().map(({ quantile, seconds }) => ({ labels: { quantile: String(quantile) }, value: seconds })),
  }
}

const megabytes = (of: readonly MeasuredSandbox[], take: (one: MeasuredSandbox) => number): number => of.reduce((sum, one) => sum + take(one), 0) * MiB

const byFunction = (sandboxes: readonly MeasuredSandbox[]) =>
  [...Map.groupBy(sandboxes, (one) => JSON.stringify([one.project, one.functionName])).values()].map((own) => {
    const [{ project, functionName }] = own as [MeasuredSandbox]
    return { labels: { project, function: functionName }, own }
  })

const histogram = ({ atMost, count, sumMs }: Counted, labels: Readonly<Record<string, string>>): Sample[] => [
  ...atMost.map((value, at) => ({ suffix: '_bucket', labels: { ...labels, le: String((DURATION_BOUNDS_MS[at] as number) / 1000) }, value })),
  { suffix: '_bucket', labels: { ...labels, le: '+Inf' }, value: count },
  { suffix: '_sum', labels, value: sumMs / 1000 },
  { suffix: '_count', labels, value: count },
]

/** @see https://prometheus.io/docs/instrumenting/exposition_formats/ */
export function render(metrics: Partial<Record<MetricName, readonly Sample[]>>): string {
  const lines: string[] = []
  for (const [name, { type, help }] of Object.entries(METRICS)) {
    const samples = metrics[name as MetricName]
    if (!samples) continue
    lines.push(`# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`, `# TYPE ${name} ${type}`)
    for (const { value, labels = {}, suffix = '' } of samples) {
      const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`)
      lines.push(`${name}${suffix}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}`)
    }
  }
  return `${lines.join('\n')}\n`
}

const escapeLabel = (text: string) => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
