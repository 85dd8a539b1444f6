import { useState } from 'react'
import { api, type Bill, type UsageDay } from '../api.ts'
import { type Bar, Bars } from '../chart.tsx'
import { bytes, count, gbSeconds, money, utcDay, wholeCount } from '../format.ts'
import { useLoaded } from '../load.ts'
import { Card, Figure, Page, Shown, Table } from '../parts.tsx'
import { hrefOf } from '../route.ts'
import { t } from '../text.ts'

const SPANS = [7, 31, 90] as const
const DAY_MS = 86_400_000

const MEASURES = [
  ['cost', 'Cost'],
  ['executions', 'Executions'],
  ['gbSeconds', 'Compute'],
] as const
type Measure = (typeof MEASURES)[number][0]

export function UsagePage({ project }: { project: string }) {
  const [days, setDays] = useState<number>(31)
  const [measure, setMeasure] = useState<Measure>('cost')
  const bill = useLoaded(`${project}/${days}`, (signal) => api.usage(project, days, signal), 10_000)
  return (
    <Page
      title={t('Usage')}
      actions={
        <label>
          {t('Span')}{' '}
          <select value={days} onChange={(event) => setDays(Number(event.target.value))}>
            {SPANS.map((span) => (
              <option key={span} value={span}>
                {t('{n} days', { n: span })}
              </option>
            ))}
          </select>
        </label>
      }
    >
      <Shown of={bill}>
        {(value) => (
          <>
            <dl className="figures">
              <Figure label={t('Cost')} value={money(Number(value.total.cost), value.prices.currency)} note={value.prices.name} />
              <Figure label={t('Executions')} value={count(value.total.executions)} note={t('{n} cold', { n: count(value.total.cold) })} />
              <Figure label={t('Errors')} value={count(value.total.errors)} bad={value.total.errors > 0} />
              <Figure label={t('Compute')} value={gbSeconds(value.total.gbSeconds)} />
              <Figure label={t('Bytes in')} value={bytes(value.total.bytesIn)} />
              <Figure label={t('Bytes out')} value={bytes(value.total.bytesOut)} />
              <Figure label={t('From elsewhere / to elsewhere')} value={`${bytes(value.total.egressIn)} / ${bytes(value.total.egressOut)}`} />
            </dl>
            <Card
              title={t('By day')}
              wide
              actions={
                <fieldset className="choice" aria-label={t('What is drawn')}>
                  {MEASURES.map(([name, title]) => (
                    <button key={name} type="button" aria-pressed={measure === name} onClick={() => setMeasure(name)}>
                      {t(title)}
                    </button>
                  ))}
                </fieldset>
              }
            >
              <Days bill={value} days={days} measure={measure} />
            </Card>
            <Card title={t('By function and day')} wide>
              {value.usage.length === 0 ? (
                <div className="empty">{t('Nothing ran in this time.')}</div>
              ) : (
                <Table
                  label={t('By function and day')}
                  rows={value.usage.toReversed()}
                  keyOf={(row) => `${row.day}/${row.functionName}`}
                  columns={[
                    { head: t('Day'), cell: (row) => row.day },
                    { head: t('Function'), main: true, cell: (row) => <a href={hrefOf(project, 'functions', row.functionName)}>{row.functionName}</a> },
                    { head: t('Executions'), number: true, cell: (row) => count(row.executions) },
                    { head: t('Errors'), number: true, cell: (row) => count(row.errors) },
                    { head: t('Cold'), number: true, cell: (row) => count(row.cold) },
                    { head: t('Compute'), number: true, cell: (row) => gbSeconds(row.gbSeconds) },
                    { head: t('Bytes in'), number: true, cell: (row) => bytes(row.bytesIn) },
                    { head: t('Bytes out'), number: true, cell: (row) => bytes(row.bytesOut) },
                    { head: t('From elsewhere / to elsewhere'), number: true, cell: (row) => `${bytes(row.egressIn)} / ${bytes(row.egressOut)}` },
                    { head: t('Cost'), number: true, cell: (row) => money(Number(row.cost), value.prices.currency) },
                  ]}
                />
              )}
            </Card>
            <Card title={t('Price list in force')} wide>
              <Prices of={value} />
            </Card>
            <p className="small">{t('Days are those of UTC.')}</p>
          </>
        )}
      </Shown>
    </Page>
  )
}

function Days({ bill, days, measure }: { bill: Bill; days: number; measure: Measure }) {
  const measured = (row: UsageDay) => (measure === 'cost' ? Number(row.cost) : row[measure])
  const show = (value: number) => (measure === 'cost' ? money(value, bill.prices.currency) : measure === 'executions' ? count(value) : gbSeconds(value))
  const today = Date.parse(utcDay(new Date()))
  const all = Array.from({ length: days }, (_, place) => utcDay(new Date(today - (days - 1 - place) * DAY_MS)))
  const bars = all.map((day): Bar => {
    const rows = bill.usage.filter((row) => row.day === day)
    const sum = rows.reduce((total, row) => total + measured(row), 0)
    const errors = rows.reduce((total, row) => total + row.errors, 0)
    const bad = measure === 'executions' ? errors : 0
    return {
      key: day,
      segments: [
        { kind: 'run', value: sum - bad },
        { kind: 'bad', value: bad },
      ],
      told: `${day} · ${show(sum)} · ${t('errors: {n}', { n: count(errors) })}`,
    }
  })
  return (
    <Bars
      label={t('{what} by day; arrow keys choose a day', { what: t(MEASURES.find(([name]) => name === measure)?.[1] ?? 'Cost') })}
      bars={bars}
      show={measure === 'executions' ? wholeCount : show}
      legend={[
        { kind: 'run', name: t(MEASURES.find(([name]) => name === measure)?.[1] ?? 'Cost') },
        ...(measure === 'executions' ? [{ kind: 'bad', name: t('Errors') }] : []),
      ]}
      first={all[0] ?? ''}
      last={all.at(-1) ?? ''}
    />
  )
}

function Prices({ of: { prices } }: { of: Bill }) {
  const price = (text: string) => `${text} ${prices.currency}`
  const { free } = prices
  const rows: [string, string][] = [
    [t('Name'), prices.asOf === '' ? prices.name : `${prices.name} (${prices.asOf})`],
    [t('A million executions'), price(prices.perMillionExecutions)],
    [t('A GB-second'), price(prices.perGbSecond)],
    [t('A GB in'), price(prices.perGbIn)],
    [t('A GB out'), price(prices.perGbOut)],
    [t('A GB from elsewhere'), price(prices.perGbEgressIn)],
    [t('A GB to elsewhere'), price(prices.perGbEgressOut)],
    [
      t('Free in a month'),
      free.executions + free.gbSeconds + free.gbIn + free.gbOut === 0
        ? t('nothing')
        : [
            `${count(free.executions)} ${t('Executions')}`,
            gbSeconds(free.gbSeconds),
            `${count(free.gbIn)} GB ${t('in')}`,
            `${count(free.gbOut)} GB ${t('out')}`,
          ].join(' · '),
    ],
  ]
  return (
    <>
      <dl className="pairs">
        {rows.map(([name, value]) => (
          <div key={name} className="pair">
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {prices.note !== '' && <p className="small">{prices.note}</p>}
    </>
  )
}
