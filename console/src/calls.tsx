import { type ReactNode, useId, useState } from 'react'
import { ANY_LETTER, api, type LifeInfo } from './api.ts'
import { count } from './format.ts'
import { useLoaded } from './load.ts'
import { Badge, Card, Shown, Table, Time } from './parts.tsx'
import { hrefOf } from './route.ts'
import { type CallState, ErrorText, STATES, StateBadge } from './states.tsx'
import { t } from './text.ts'

const PAGE = 50
const MOST = 1000

/** A call, wherever it stands. */
interface Call {
  readonly id: string
  readonly function: string
  /** Whom its outcome tells, where it is no call of a function. */
  readonly to?: string | undefined
  readonly state: LifeInfo['status']
  readonly failed: number | null
  readonly at: string
  readonly next: string | null
  readonly errorType?: string | null
  readonly errorMessage?: string | null | undefined
}

/** What waits and runs, or what became of it: by state, and of one function or of all ('' ). */
export function Calls({ project, functionName }: { project: string; functionName: string }) {
  const [state, setState] = useState<CallState | ''>('')
  const [most, setMost] = useState(PAGE)
  const id = useId()
  const queue = useLoaded(project, (signal) => api.queue(project, { function: '', state: '' }, 1, signal), 2000)
  const calls = useLoaded(`${project}/${functionName}/${state}/${most}`, (signal) => callsOf(project, functionName, state, most, signal), 2000)
  return (
    <Card
      title={t('Queue')}
      wide
      actions={
        <>
          {queue.value && (
            <>
              <Badge kind="plain">{t('{n} waiting', { n: count(queue.value.waiting) })}</Badge>
              <Badge kind="plain">{t('{n} running', { n: count(queue.value.running) })}</Badge>
            </>
          )}
          <label htmlFor={id} className="beside">
            {t('State')}
            <select
              id={id}
              value={state}
              onChange={(event) => {
                setState(event.target.value as CallState | '')
                setMost(PAGE)
              }}
            >
              <option value="">{t('in the queue')}</option>
              {STATES.map((one) => (
                <option key={one} value={one}>
                  {t(one)}
                </option>
              ))}
            </select>
          </label>
        </>
      }
    >
      <Shown of={calls} isEmpty={(list) => list.length === 0} empty={<p>{saysNothing(state, functionName)}</p>}>
        {(list) => (
          <>
            <CallTable list={list} project={project} />
            {list.length >= most && most < MOST && (
              <button type="button" onClick={() => setMost(Math.min(most * 4, MOST))}>
                {t('Show more')}
              </button>
            )}
          </>
        )}
      </Shown>
    </Card>
  )
}

function CallTable({ list, project }: { list: readonly Call[]; project: string }) {
  const isOver = list[0]?.state === 'succeeded' || list[0]?.state === 'dead'
  return (
    <Table
      label={t('Queue')}
      rows={list}
      keyOf={(call) => call.id}
      columns={[
        { head: t('Function'), main: true, cell: (call) => <Whose of={call} project={project} /> },
        { head: t('State'), cell: (call) => <StateBadge of={call.state} /> },
        { head: t('Failed'), number: true, cell: (call) => (call.failed === null ? '–' : count(call.failed)) },
        { head: t('Queued'), cell: (call) => <Time at={call.at} /> },
        { head: isOver ? t('Ended') : t('Due'), cell: (call) => (call.next === null ? '–' : <Time at={call.next} />) },
        { head: t('Error'), wide: true, cell: (call) => call.errorMessage && <ErrorText type={call.errorType} message={call.errorMessage} /> },
        {
          head: t('Invocation'),
          wide: true,
          cell: (call) => (
            <a href={hrefOf(project, 'events', call.id)}>
              <code>{call.id}</code>
            </a>
          ),
        },
      ]}
    />
  )
}

/** The function of a call, and whom its outcome tells where it is one. */
export function Whose({ of, project }: { of: { readonly function: string; readonly to?: string | undefined }; project: string }): ReactNode {
  return (
    <>
      <a href={hrefOf(project, 'functions', of.function)}>{of.function}</a>
      {of.to !== undefined && ` → ${of.to}`}
    </>
  )
}

function saysNothing(state: CallState | '', functionName: string): string {
  if (state === 'dead') return t('None: no event was given up.')
  return state === '' && functionName === '' ? t('Nothing waits: every event has been worked off.') : t('There is none.')
}

async function callsOf(project: string, functionName: string, state: CallState | '', limit: number, signal: AbortSignal): Promise<readonly Call[]> {
  if (state === 'dead') {
    const letters = await api.deadLetters(project, { ...ANY_LETTER, function: functionName }, limit, signal)
    return letters.map((one) => ({ ...one, to: one.webhook ?? one.queue, state: 'dead', failed: one.attempts, at: one.enqueuedAt, next: one.deadAt }))
  }
  if (state === 'succeeded') {
    const ended = await api.executions(project, { function: functionName, state }, limit, signal)
    return ended.flatMap(({ id, function: name, attempt, queueMs, startedAt, durationMs }) => {
      if (queueMs === null) return []
      const started = Date.parse(startedAt)
      const [at, next] = [started - queueMs, started + durationMs].map((ms) => new Date(ms).toISOString()) as [string, string]
      // Attempts that a node's end broke off are counted among them: which failed stands in its life.
      return [{ id, function: name, state: 'succeeded', failed: attempt === 1 ? 0 : null, at, next } as const]
    })
  }
  const { entries } = await api.queue(project, { function: functionName, state }, limit, signal)
  return entries.map((one) => ({
    id: one.id,
    function: one.function,
    to: one.webhook,
    state: one.state,
    failed: one.spent,
    at: one.enqueuedAt,
    next: one.state === 'running' || one.state === 'held' ? null : one.dueAt,
    errorMessage: one.errorMessage,
  }))
}
