import { useState } from 'react'
import { ANY_LETTER, api, type Session } from '../api.ts'
import { count, duration, gbSeconds, money, utcDay } from '../format.ts'
import { useLoaded } from '../load.ts'
import { Badge, Card, Copyable, Failure, Figure, Page, Shown, Table } from '../parts.tsx'
import { ProjectCard } from '../project.tsx'
import { hrefOf } from '../route.ts'
import { SandboxTable, saysEnded, saysWaiting } from '../sandboxes.tsx'
import { t } from '../text.ts'

export function OverviewPage({ project, session }: { project: string; session: Session }) {
  const status = useLoaded('status', (signal) => api.status(signal), 5000)
  const usage = useLoaded(project, (signal) => api.usage(project, 1, signal), 5000)
  const queue = useLoaded(project, (signal) => api.queue(project, { function: '', state: '' }, 1, signal), 5000)
  const letters = useLoaded(project, (signal) => api.deadLetters(project, ANY_LETTER, 100, signal), 10_000)
  const today = usage.value?.usage.filter((row) => row.day === utcDay(new Date())) ?? null
  const sum = (of: (row: NonNullable<typeof today>[number]) => number) => today?.reduce((total, row) => total + of(row), 0) ?? null
  const shown = (value: number | null, show: (value: number) => string) => (value === null ? null : show(value))
  const currency = usage.value?.prices.currency ?? ''
  const errors = sum((row) => row.errors)
  const cold = sum((row) => row.cold)
  const failing = today?.filter((row) => row.errors > 0) ?? []
  return (
    <Page title={t('Overview')}>
      {[usage, queue, letters].map(
        (one, place) => one.error !== null && <Failure key={['usage', 'queue', 'letters'][place]} error={one.error} again={one.again} />,
      )}
      <dl className="figures">
        <Figure
          label={t('Executions today')}
          value={shown(
            sum((row) => row.executions),
            count,
          )}
          note={cold === null ? ' ' : t('{n} cold', { n: count(cold) })}
        />
        <Figure label={t('Errors today')} value={shown(errors, count)} bad={(errors ?? 0) > 0} />
        <Figure
          label={t('Compute today')}
          value={shown(
            sum((row) => row.gbSeconds),
            gbSeconds,
          )}
        />
        <Figure
          label={t('Cost today')}
          value={shown(
            sum((row) => Number(row.cost)),
            (value) => money(value, currency),
          )}
          note={t('by the price list')}
        />
        <Figure
          label={t('In the queue')}
          value={queue.value ? count(queue.value.waiting + queue.value.running) : null}
          note={queue.value ? t('{n} running', { n: count(queue.value.running) }) : ' '}
        />
        <Figure
          label={t('Dead letters')}
          value={letters.value ? `${count(letters.value.length)}${letters.value.length >= 100 ? '+' : ''}` : null}
          bad={(letters.value?.length ?? 0) > 0}
        />
      </dl>
      <div className="cards two">
        <Card title={t('Needs a look')}>
          {failing.length === 0 && (letters.value?.length ?? 0) === 0 ? (
            <div className="empty">{today === null || letters.value === null ? t('Loading…') : t('Nothing: no error today, no dead letter.')}</div>
          ) : (
            <ul className="plain">
              {failing.map((row) => (
                <li key={row.functionName}>
                  <a href={hrefOf(project, 'functions', row.functionName)}>{row.functionName}</a>{' '}
                  <Badge kind="bad">{t('errors today: {n}', { n: count(row.errors) })}</Badge>
                </li>
              ))}
              {(letters.value?.length ?? 0) > 0 && (
                <li>
                  <a href={hrefOf(project, 'events')}>{t('Dead letters')}</a> <Badge kind="bad">{count(letters.value?.length ?? 0)}</Badge>
                </li>
              )}
            </ul>
          )}
        </Card>
        <Card title={t('Node')}>
          <Shown of={status}>
            {(node) => {
              const states = Object.entries(Object.groupBy(node.pool.sandboxes, (one) => one.state))
              return (
                <>
                  <dl className="pairs">
                    <dt>{t('State')}</dt>
                    <dd>{status.error === null ? <Badge kind="good">{t('running')}</Badge> : <Badge kind="bad">{t('no answer')}</Badge>}</dd>
                    <dt>{t('Isolation')}</dt>
                    <dd>
                      {node.sandbox.driver === 'process' ? <Badge kind="bad">{t('process: keeps nothing apart')}</Badge> : node.sandbox.driver}
                      {node.sandbox.limits.length > 0 && (
                        <details>
                          <summary>{t('{n} limits held by the kernel', { n: count(node.sandbox.limits.length) })}</summary>
                          <span className="small">{node.sandbox.limits.join(', ')}</span>
                        </details>
                      )}
                    </dd>
                    <dt>{t('Sandboxes')}</dt>
                    <dd>{states.map(([state, list]) => `${count(list?.length ?? 0)} ${state}`).join(' · ') || t('none')}</dd>
                    <dt>{t('Waiting for a function')}</dt>
                    <dd>{saysWaiting(node.pool)}</dd>
                    <dt>{t('Ended')}</dt>
                    <dd>{saysEnded(node.pool)}</dd>
                    <dt>{t('Memory')}</dt>
                    <dd>{`${count(node.pool.memory.usedMb)} / ${count(node.pool.memory.budgetMb)} MB`}</dd>
                    <dt>{t('Region')}</dt>
                    <dd>{node.region}</dd>
                  </dl>
                  {[...node.pool.problems, ...node.pool.missing].map((one) => (
                    <p key={one.what} className="warning">
                      <b>{one.what}</b>: {one.why} {one.todo}
                    </p>
                  ))}
                </>
              )
            }}
          </Shown>
        </Card>
        <ProjectCard key={`project ${project}`} project={project} />
        <Keys key={project} project={project} session={session} />
      </div>
      <Card title={t('Sandboxes')} wide>
        <Shown of={status}>{(node) => <SandboxTable of={node.pool.sandboxes} project={project} name={null} />}</Shown>
      </Card>
      {today !== null && today.length > 0 && (
        <Card title={t('Today by function')} wide>
          <Table
            label={t('Today by function')}
            rows={today}
            keyOf={(row) => row.functionName}
            columns={[
              { head: t('Function'), main: true, cell: (row) => <a href={hrefOf(project, 'functions', row.functionName)}>{row.functionName}</a> },
              { head: t('Executions'), number: true, cell: (row) => count(row.executions) },
              { head: t('Cold'), number: true, cell: (row) => count(row.cold) },
              { head: t('Errors'), number: true, cell: (row) => count(row.errors) },
              { head: t('Compute'), number: true, cell: (row) => gbSeconds(row.gbSeconds) },
              { head: t('Cost'), number: true, cell: (row) => money(Number(row.cost), currency) },
            ]}
          />
        </Card>
      )}
      <p className="small">{t('Asked again every {every}. Days are those of UTC, as on the bill.', { every: duration(5000) })}</p>
    </Page>
  )
}

/** Secrets are fetched when somebody asks to see them: the node writes down that they were shown. */
function Keys({ project, session }: { project: string; session: Session }) {
  const [keys, setKeys] = useState<Readonly<Record<string, unknown>> | null>(null)
  const [error, setError] = useState<unknown>(null)
  const url = projectUrl(session, project)
  const show = async () => {
    setError(null)
    try {
      setKeys(await api.keys(project))
    } catch (failed) {
      setError(failed)
    }
  }
  return (
    <Card
      title={t('Address and keys')}
      actions={
        <button type="button" aria-expanded={keys !== null} onClick={() => (keys === null ? void show() : setKeys(null))}>
          {keys === null ? t('Show keys') : t('Hide keys')}
        </button>
      }
    >
      {error !== null && <Failure error={error} />}
      <dl className="pairs">
        <dt>{t('URL')}</dt>
        <dd>
          <Copyable text={url} label={t('Copy the URL')} />
        </dd>
        {Object.entries(flat(keys ?? {})).map(([name, value]) => (
          <div key={name} className="pair">
            <dt>{name}</dt>
            <dd>
              <Copyable text={value} label={t('Copy {what}', { what: name })} />
            </dd>
          </div>
        ))}
      </dl>
      <p className="small">{t('Whoever signs up is believed to own the address that he gives: no mail server can be configured yet.')}</p>
      {keys === null && <p className="small">{t('Keys are secrets; showing them is written into the audit log.')}</p>}
    </Card>
  )
}

export const projectUrl = (session: Session, project: string): string =>
  project === session.defaultProject ? session.apiUrl.replace(/\/$/, '') : `${session.apiUrl.replace(/\/$/, '')}/p/${project}`

function flat(keys: Readonly<Record<string, unknown>>, before = ''): Record<string, string> {
  return Object.fromEntries(
    Object.entries(keys).flatMap(([name, value]) =>
      typeof value === 'object' && value !== null
        ? Object.entries(flat(value as Record<string, unknown>, `${before}${name}.`))
        : [[before + name, String(value)]],
    ),
  )
}
