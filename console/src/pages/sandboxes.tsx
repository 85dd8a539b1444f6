import { useState } from 'react'
import { api, type ColdStarts, type SandboxInfo, type Status } from '../api.ts'
import { type Bar, Bars } from '../chart.tsx'
import { count, localTime, wholeCount } from '../format.ts'
import { useLoaded } from '../load.ts'
import { Badge, Card, Figure, Page, Shown, Table } from '../parts.tsx'
import { COLD_REASONS, ENDINGS } from '../reasons.ts'
import { hrefOf } from '../route.ts'
import { SandboxTable } from '../sandboxes.tsx'
import { t } from '../text.ts'

const SPANS = [3, 24, 168] as const
const sum = (of: readonly SandboxInfo[], take: (one: SandboxInfo) => number) => of.reduce((total, one) => total + take(one), 0)
const mb = (value: number) => `${count(value)} MB`

/** The pool of the node, what serves each function, and why calls of the project were cold. */
export function SandboxesPage({ project }: { project: string }) {
  const [hours, setHours] = useState<number>(24)
  const status = useLoaded('status', (signal) => api.status(signal), 3000)
  const cold = useLoaded(`${project}/${hours}`, (signal) => api.coldStarts(project, hours, signal), 10_000)
  return (
    <Page title={t('Sandboxes')}>
      <Shown of={status}>{(node) => <Figures of={node} />}</Shown>
      <Card
        title={t('Why calls were cold')}
        wide
        actions={
          <label>
            {t('Span')}{' '}
            <select value={hours} onChange={(event) => setHours(Number(event.target.value))}>
              {SPANS.map((span) => (
                <option key={span} value={span}>
                  {span === 168 ? t('{n} days', { n: 7 }) : t('{n} hours', { n: span })}
                </option>
              ))}
            </select>
          </label>
        }
      >
        <Shown of={cold}>{(told) => <ColdOverTime of={told} hours={hours} />}</Shown>
      </Card>
      <Card title={t('By function')} wide>
        <Shown of={status}>{(node) => <ByFunction of={node.pool.sandboxes} project={project} />}</Shown>
      </Card>
      <div className="cards two">
        <Card title={t('Pool by runtime')}>
          <Shown of={status}>{(node) => <PoolTable of={node} />}</Shown>
        </Card>
        <Card title={t('Ended since the node started')}>
          <Shown of={status}>
            {(node) => (
              <Table
                label={t('Ended since the node started')}
                rows={ENDINGS}
                keyOf={([why]) => why}
                columns={[
                  { head: t('Reason'), main: true, cell: ([why]) => why },
                  { head: t('What it means'), wide: true, cell: ([, meaning]) => t(meaning) },
                  { head: t('Times'), number: true, cell: ([why]) => count(node.pool.ended[why] ?? 0) },
                ]}
              />
            )}
          </Shown>
        </Card>
      </div>
      <Card title={t('Sandboxes of this project')} wide>
        <Shown of={status}>{(node) => <SandboxTable of={node.pool.sandboxes} project={project} name={null} />}</Shown>
      </Card>
      <p className="small">
        {t(
          'A frozen sandbox is charged the memory that it keeps; another, and one that is kept loaded, its limit. Past what all may have together the longest unused ends first.',
        )}
      </p>
    </Page>
  )
}

function Figures({ of: { pool } }: { of: Status }) {
  const busy = pool.sandboxes.filter((one) => one.busy > 0)
  return (
    <dl className="figures">
      <Figure label={t('At work')} value={count(busy.length)} note={t('calls: {n}', { n: count(sum(busy, (one) => one.busy)) })} />
      <Figure
        label={t('Kept for their next call')}
        value={count(pool.sandboxes.length - busy.length)}
        note={t('frozen: {n}', { n: count(pool.sandboxes.filter((one) => one.state === 'frozen').length) })}
      />
      <Figure label={t('Waiting for a function')} value={count(pool.generic)} />
      <Figure label={t('Memory charged')} value={mb(pool.memory.usedMb)} note={t('of {n} MB', { n: count(pool.memory.budgetMb) })} />
      <Figure label={t('Memory used')} value={mb(sum(pool.sandboxes, (one) => one.usedMb ?? 0))} note={t('as the kernel counts it')} />
    </dl>
  )
}

function ColdOverTime({ of: { stepS, spans }, hours }: { of: ColdStarts; hours: number }) {
  const stepMs = stepS * 1000
  const last = Math.floor(Date.now() / stepMs) * stepMs
  const length = (hours * 3_600_000) / stepMs
  const times = Array.from({ length }, (_, place) => last - (length - 1 - place) * stepMs)
  const told = new Map(spans.map((span) => [Date.parse(span.at), span.reasons]))
  const total = (why: string) => spans.reduce((all, { reasons }) => all + (reasons[why] ?? 0), 0)
  const met = COLD_REASONS.filter(([why]) => total(why) > 0)
  const today = new Date()
  const bars = times.map((at): Bar => {
    const reasons = told.get(at) ?? {}
    const words = met.filter(([why]) => reasons[why]).map(([why]) => `${why} ${count(reasons[why] ?? 0)}`)
    return {
      key: String(at),
      segments: met.map(([why, kind]) => ({ kind, value: reasons[why] ?? 0 })),
      told: `${localTime(new Date(at), today)} · ${words.join(' · ') || t('no cold call')}`,
    }
  })
  if (met.length === 0) return <div className="empty">{t('No call was cold in this time.')}</div>
  return (
    <>
      <Bars
        label={t('Cold calls over time; arrow keys choose a span')}
        bars={bars}
        show={wholeCount}
        legend={met.map(([why, kind]) => ({ kind, name: why }))}
        first={localTime(new Date(times[0] ?? last), today)}
        last={localTime(new Date(last), today)}
      />
      <Table
        label={t('Why calls were cold')}
        rows={met}
        keyOf={([why]) => why}
        columns={[
          { head: t('Reason'), main: true, cell: ([why]) => why },
          { head: t('What it means'), wide: true, cell: ([, , meaning]) => t(meaning) },
          { head: t('Cold calls'), number: true, cell: ([why]) => count(total(why)) },
        ]}
      />
    </>
  )
}

function ByFunction({ of, project }: { of: readonly SandboxInfo[]; project: string }) {
  const groups = [...Map.groupBy(of, (one) => `${one.project}/${one.functionName}`).values()]
  if (groups.length === 0) return <p>{t('None now: the next call starts one.')}</p>
  return (
    <Table
      label={t('By function')}
      rows={groups.toSorted((a, b) => sum(b, (one) => one.memoryMb) - sum(a, (one) => one.memoryMb))}
      keyOf={([one]) => `${one?.project}/${one?.functionName}`}
      columns={[
        { head: t('Function'), main: true, cell: ([one]) => <FunctionLink of={one as SandboxInfo} project={project} /> },
        { head: t('Sandboxes'), number: true, cell: (own) => count(own.length) },
        { head: t('At work'), number: true, cell: (own) => count(own.filter((one) => one.busy > 0).length) },
        { head: t('Calls'), number: true, cell: (own) => count(sum(own, (one) => one.calls)) },
        { head: t('Used'), number: true, cell: (own) => mb(sum(own, (one) => one.usedMb ?? 0)) },
        { head: t('Charged'), number: true, cell: (own) => mb(sum(own, (one) => one.memoryMb)) },
        { head: t('Limit'), number: true, cell: (own) => mb(sum(own, (one) => one.limitMb)) },
      ]}
    />
  )
}

function FunctionLink({ of, project }: { of: SandboxInfo; project: string }) {
  return (
    <>
      <a href={hrefOf(of.project, 'functions', of.functionName)}>{of.functionName}</a> {of.project !== project && <Badge kind="plain">{of.project}</Badge>}
    </>
  )
}

function PoolTable({ of: { pool, sandbox } }: { of: Status }) {
  return (
    <Table
      label={t('Pool by runtime')}
      rows={pool.waiting}
      keyOf={(one) => one.runtime}
      columns={[
        { head: t('Runtime'), main: true, cell: (one) => one.runtime },
        { head: t('Isolation'), cell: () => sandbox.driver },
        { head: t('Waiting'), number: true, cell: (one) => count(one.booted) },
        { head: t('Wanted'), number: true, cell: (one) => count(one.wanted) },
      ]}
    />
  )
}
