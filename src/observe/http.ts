import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project } from '../core/project.ts'
import type { RequestContext, Route } from '../core/route.ts'
import { metricsPage, type MetricsSources } from './metrics.ts'
import type { Logs } from './service.ts'
import type { StoredLine } from './store.ts'

/** @param draining  fires when the node begins to stop: who follows is let go, and not waited for */
export const routes = (logs: Logs, draining: AbortSignal): Route[] => [
  {
    method: 'GET',
    path: '/api/v1/projects/:ref/functions/:name/logs',
    access: 'manage',
    plane: 'management',
    doc: 'The last lines of a function (`limit`, `after`, `invocation`); with `follow=1` one JSON object a line, for as long as the client stays. `dropped` counts what its project lost for want of room.',
    handle: async (context) => {
      const of = parse(context)
      if (context.query.get('follow') === '1')
        return { status: 200, headers: { 'content-type': 'application/x-ndjson' }, body: follow(logs, of, AbortSignal.any([context.signal, draining])) }
      const lines = await logs.read(of)
      const { droppedLines, droppedBytes } = await logs.volume(of.project)
      const dropped = { lines: droppedLines, bytes: droppedBytes }
      return { status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ lines: lines.map(show), dropped }) }
    },
  },
]

/** The node's own numbers; read by the operator's Prometheus. */
export const metricsRoutes = (sources: () => Promise<MetricsSources>): Route[] => [
  {
    method: 'GET',
    path: '/metrics',
    access: 'operator',
    plane: 'node',
    doc: "The node's numbers in Prometheus' text format; docs/metrics.md lists them.",
    handle: async () => ({ status: 200, headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }, body: await metricsPage(await sources()) }),
  },
]

function parse(context: RequestContext) {
  const limitText = context.query.get('limit') ?? '200'
  const limit = Number(limitText)
  if (!/^\d{1,6}$/.test(limitText) || limit < 1 || limit > LIMITS.logPage.value)
    throw new MayflyError('bad_request', `limit: a whole number from 1 to ${LIMITS.logPage.value}`)
  const afterSeq = context.query.get('after')
  if (afterSeq !== null && !/^\d{1,18}$/.test(afterSeq)) throw new MayflyError('bad_request', 'after: the `seq` of a line')
  const invocationId = context.query.get('invocation')
  if (invocationId !== null && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(invocationId))
    throw new MayflyError('bad_request', 'invocation: the id of an invocation')
  const functionName = context.params.name ?? ''
  if (functionName.length > 200 || functionName.includes('\0')) throw new MayflyError('bad_request', 'the name of a function is text of at most 200 characters')
  return { project: (context.project as Project).ref, functionName, afterSeq, invocationId, limit }
}

const show = (line: StoredLine) => ({
  seq: line.seq,
  at: line.at.toISOString(),
  invocation: line.invocationId,
  version: line.version,
  source: line.source,
  text: line.text,
})

async function* follow(logs: Logs, of: ReturnType<typeof parse>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let afterSeq = of.afterSeq
  let limit = of.limit
  while (!signal.aborted) {
    const changed = logs.changed(5_000, signal)
    const lines = await logs.read({ ...of, afterSeq, limit })
    for (const line of lines) yield Buffer.from(`${JSON.stringify(show(line))}\n`)
    afterSeq = lines.at(-1)?.seq ?? afterSeq ?? '0'
    limit = LIMITS.logPage.value
    if (lines.length === 0) await changed
  }
}
