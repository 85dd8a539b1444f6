import { useState } from 'react'
import { api, type Invocation, type LogLine } from './api.ts'
import { type Bar, Bars } from './chart.tsx'
import { bytes, count, duration, localTime } from './format.ts'
import type { Loaded } from './load.ts'
import { Badge, Dialog, Failure, Shown, Table, Time } from './parts.tsx'
import { hrefOf } from './route.ts'
import { t } from './text.ts'
import { drawnOf, PartsBar, partsOf, saysParts } from './timings.tsx'

const LISTED = 8

/** What an invocation came to, in words. */
function Outcome({ of }: { of: Invocation }) {
  return <Badge kind={of.outcome === null ? 'warn' : of.outcome === 'ok' ? 'good' : 'bad'}>{t(of.outcome ?? 'running')}</Badge>
}

/** What runs may have met either, and what came to no sandbox has met none. */
const startOf = ({ outcome, cold }: Invocation): string =>
  cold !== null ? t('cold: {why}', { why: cold }) : outcome === null || outcome === 'cut' ? '–' : t('warm')

/** One bar per invocation, oldest left: where its time went, runs that failed apart; then the same as a table. */
export function Invocations({ of, project, name }: { of: Loaded<readonly Invocation[]>; project: string; name: string }) {
  const [all, setAll] = useState(false)
  const [opened, setOpened] = useState<Invocation | null>(null)
  return (
    <Shown of={of} isEmpty={(list) => list.length === 0} empty={<p>{t('It has not run yet. Invoke it below, or let a trigger start it.')}</p>}>
      {(list) => {
        const drawn = list.filter((one) => one.outcome !== null).toReversed()
        const bars = drawn.map(barOf)
        const kinds = new Set(bars.flatMap((bar) => bar.segments.map((segment) => segment.kind)))
        const today = new Date()
        return (
          <>
            <Bars
              label={t('Duration of the last {n} invocations; arrow keys choose one', { n: count(drawn.length) })}
              bars={bars}
              show={duration}
              legend={[
                { kind: 'queue', name: t('in the queue') },
                { kind: 'wait', name: t('waiting for a sandbox') },
                { kind: 'init', name: t('loading (cold)') },
                { kind: 'run', name: t('run') },
                { kind: 'bad', name: t('run that failed') },
                { kind: 'response', name: t('answer on its way') },
              ].filter(({ kind }) => kinds.has(kind))}
              first={drawn[0] ? localTime(new Date(drawn[0].startedAt), today) : ''}
              last={drawn.length > 1 ? localTime(new Date((drawn.at(-1) as Invocation).startedAt), today) : ''}
            />
            <Table
              label={t('Recent invocations')}
              rows={all ? list : list.slice(0, LISTED)}
              keyOf={(one) => `${one.id}/${one.attempt}`}
              columns={[
                {
                  head: t('Started'),
                  main: true,
                  cell: (one) => (
                    <button type="button" className="link" onClick={() => setOpened(one)}>
                      <Time at={one.startedAt} />
                    </button>
                  ),
                },
                { head: t('Outcome'), cell: (one) => <Outcome of={one} /> },
                { head: t('Start'), cell: (one) => (one.cold === null ? startOf(one) : <Badge kind="warn">{startOf(one)}</Badge>) },
                { head: t('Time'), cell: (one) => (one.outcome === null ? '–' : <PartsBar of={partsOf(one)} />) },
                { head: t('Run'), number: true, cell: (one) => (one.outcome === null ? '–' : duration(one.runMs)) },
                { head: t('Loading'), number: true, cell: (one) => (one.initMs ? duration(one.initMs) : '–') },
                { head: t('Memory'), number: true, cell: (one) => (one.maxMemoryMb === null ? '–' : `${count(one.maxMemoryMb)} MB`) },
                { head: t('Attempt'), number: true, cell: (one) => count(one.attempt) },
              ]}
            />
            {list.length > LISTED && (
              <button type="button" aria-expanded={all} onClick={() => setAll(!all)}>
                {all ? t('Show fewer') : t('Show all {n}', { n: count(list.length) })}
              </button>
            )}
            {opened && <OneInvocation of={opened} project={project} name={name} close={() => setOpened(null)} />}
          </>
        )
      }}
    </Shown>
  )
}

function barOf(one: Invocation): Bar {
  const parts = partsOf(one)
  return {
    key: `${one.id}/${one.attempt}`,
    // In the queue's time of a later attempt are those before it, which have bars of their own.
    segments: drawnOf(parts.filter(({ kind }) => kind !== 'queue' || one.attempt === 1)),
    ...(one.cold === null ? {} : { mark: '❄' }),
    told: `${localTime(new Date(one.startedAt), new Date())} · ${t(one.outcome ?? 'running')} · ${startOf(one)} · ${saysParts(parts)}`,
  }
}

function OneInvocation({ of, project, name, close }: { of: Invocation; project: string; name: string; close: () => void }) {
  const [lines, setLines] = useState<readonly LogLine[] | null>(null)
  const [error, setError] = useState<unknown>(null)
  const read = async () => {
    try {
      setLines(await api.logsOf(project, name, of.id))
      setError(null)
    } catch (failed) {
      setError(failed)
    }
  }
  const told: [string, string][] = [
    [t('Invocation'), of.id],
    [t('Attempt'), count(of.attempt)],
    [t('Outcome'), t(of.outcome ?? 'running')],
    [t('Start'), startOf(of)],
    [t('In the queue'), of.queueMs === null ? '–' : duration(of.queueMs)],
    [t('Waiting for a sandbox'), duration(of.waitMs)],
    [t('Loading'), of.cold === null ? '–' : duration(of.initMs)],
    [t('Run'), duration(of.runMs)],
    [t('Answer on its way'), of.responseMs === null ? '–' : duration(of.responseMs)],
    [t('Billed'), duration(of.billedMs)],
    [t('Memory'), `${of.maxMemoryMb === null ? '–' : count(of.maxMemoryMb)} / ${count(of.memoryMb)} MB`],
    [t('Bytes in / out'), `${bytes(of.bytesIn)} / ${bytes(of.bytesOut)}`],
  ]
  return (
    <Dialog title={t('Invocation')} close={close}>
      {of.outcome !== null && <PartsBar of={partsOf(of)} />}
      <dl className="pairs">
        {told.map(([what, value]) => (
          <div key={what} className="pair">
            <dt>{what}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {error !== null && <Failure error={error} again={read} />}
      {lines && <pre className="output">{lines.length === 0 ? t('It wrote nothing, or its lines are gone.') : lines.map((line) => line.text).join('\n')}</pre>}
      <div className="actions">
        {of.queueMs !== null && <a href={hrefOf(project, 'events', of.id)}>{t('Its whole life')}</a>}
        <button type="button" onClick={read}>
          {t('Show its log')}
        </button>
        <button type="button" onClick={close}>
          {t('Close')}
        </button>
      </div>
    </Dialog>
  )
}
