import { useState } from 'react'
import { api, type LifeInfo, type LogLine } from '../api.ts'
import { count, duration } from '../format.ts'
import { EditedEvent, LetterEvent } from '../letter.tsx'
import { useLoaded } from '../load.ts'
import { Card, Confirm, Copyable, Dialog, Failure, Page, Pairs, Shown, Table, Time } from '../parts.tsx'
import { hrefOf } from '../route.ts'
import { ErrorText, OutcomeBadge, saysReason, StateBadge } from '../states.tsx'
import { type Text, t } from '../text.ts'

/** One invocation from when it was queued to who was told how it ended. */
export function LifePage({ project, id }: { project: string; id: string }) {
  const life = useLoaded(`${project}/${id}`, (signal) => api.life(project, id, signal), 2000)
  return (
    <Page
      title={t('Invocation')}
      over={
        <p className="over">
          <a href={hrefOf(project, 'events')}>{t('Events')}</a> /
        </p>
      }
      actions={life.value && <StateBadge of={life.value.status} />}
    >
      <Shown of={life}>
        {(of) => (
          <>
            <Card title={t('Its life')} wide>
              <Standing of={of} project={project} />
            </Card>
            <Card title={t('Attempts')} wide>
              <Attempts of={of} />
            </Card>
            {of.deadLetter && <Dead of={of} project={project} again={life.again} />}
            {of.destination && (
              <Card title={t('Told')} wide>
                <Told of={of.destination} project={project} />
              </Card>
            )}
            {of.sentLetter && (
              <Card title={t('Its dead-letter queue')} wide>
                <Told of={of.sentLetter} project={project} />
              </Card>
            )}
            {of.result && (
              <Card title={t('Result')} wide>
                <p className="small">
                  {t('Kept until')} <Time at={of.result.expiresAt} />
                </p>
                <pre className="output">{of.result.encoding === 'json' ? JSON.stringify(of.result.payload, null, 2) : String(of.result.payload)}</pre>
              </Card>
            )}
            {of.function !== null && of.attempts.length > 0 && (
              <Card title={t('Its log')} wide>
                <Log project={project} name={of.function} id={of.id} />
              </Card>
            )}
          </>
        )}
      </Shown>
    </Page>
  )
}

function Standing({ of, project }: { of: LifeInfo; project: string }) {
  return (
    <Pairs
      of={[
        [t('Invocation'), <Copyable key="id" text={of.id} label={t('Copy the id')} />],
        [
          t('Function'),
          of.function && (
            <a key="function" href={hrefOf(project, 'functions', of.function)}>
              {of.function}
            </a>
          ),
        ],
        [t('Queued'), of.enqueuedAt && <Time key="queued" at={of.enqueuedAt} />],
        [t('Next attempt'), of.nextAttemptAt && <Time key="next" at={of.nextAttemptAt} />],
        [t('Order key'), of.orderKey && <code key="key">{of.orderKey}</code>],
        [t('Was to tell'), of.webhook ?? of.queue],
        [t('Ended with the node'), of.lost === 0 ? null : count(of.lost)],
      ]}
    />
  )
}

function Attempts({ of }: { of: LifeInfo }) {
  if (of.attempts.length === 0) return <p className="empty">{t('None yet.')}</p>
  return (
    <Table
      label={t('Attempts')}
      rows={of.attempts}
      keyOf={(one) => String(one.attempt)}
      columns={[
        { head: t('Attempt'), main: true, cell: (one) => `#${count(one.attempt)}` },
        { head: t('Started'), cell: (one) => (one.startedAt === null ? '–' : <Time at={one.startedAt} />) },
        { head: t('Outcome'), cell: (one) => <OutcomeBadge of={one.outcome} /> },
        { head: t('Run'), number: true, cell: (one) => (one.durationMs === null || one.outcome === null ? '–' : duration(one.durationMs)) },
        { head: t('Error'), wide: true, cell: (one) => one.errorMessage && <ErrorText type={one.errorType} message={one.errorMessage} /> },
        { head: t('Next attempt'), wide: true, cell: (one) => one.nextAt && <Time at={one.nextAt} /> },
      ]}
    />
  )
}

function Dead({ of, project, again }: { of: LifeInfo; project: string; again: () => void }) {
  const [doing, setDoing] = useState<'edit' | 'delete' | null>(null)
  const [isBusy, setIsBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const goTo = (id: string) => {
    location.hash = hrefOf(project, 'events', id)
  }
  const replay = async () => {
    setIsBusy(true)
    setError(null)
    try {
      goTo(await api.replayDeadLetter(project, of.id, null))
    } catch (failed) {
      setError(failed)
      setIsBusy(false)
    }
  }
  return (
    <Card
      title={t('Dead letter')}
      wide
      actions={
        <>
          <button type="button" disabled={isBusy} onClick={() => void replay()}>
            {t('Replay')}
          </button>
          <button type="button" onClick={() => setDoing('edit')}>
            {t('Edit and replay')}
          </button>
          <button type="button" className="danger" onClick={() => setDoing('delete')}>
            {t('Delete')}
          </button>
        </>
      }
    >
      {error !== null && <Failure error={error} />}
      <Pairs
        of={[
          [t('Reason'), saysReason(of.deadLetter?.reason ?? '')],
          [t('Given up'), of.deadLetter && <Time key="dead" at={of.deadLetter.deadAt} />],
          [t('Error'), of.deadLetter?.errorType ?? null],
        ]}
      />
      {of.deadLetter?.errorMessage && <pre className="output">{of.deadLetter.errorMessage}</pre>}
      <LetterEvent project={project} id={of.id} />
      {doing === 'edit' && (
        <Dialog title={t('Edit and replay')} close={() => setDoing(null)}>
          <EditedEvent project={project} id={of.id} replayed={goTo} close={() => setDoing(null)} />
        </Dialog>
      )}
      {doing === 'delete' && (
        <Confirm
          title={t('Delete this dead letter?')}
          text={<p>{t('Its event is gone then and cannot be replayed.')}</p>}
          act={t('Delete')}
          run={async () => {
            await api.deleteDeadLetter(project, of.id)
            location.hash = hrefOf(project, 'events')
          }}
          close={() => {
            setDoing(null)
            again()
          }}
        />
      )}
    </Card>
  )
}

const KINDS: Readonly<Record<string, Text>> = { function: 'Function', queue: 'Queue', event: 'Event', webhook: 'Webhook' }

function Told({ of, project }: { of: NonNullable<LifeInfo['destination']>; project: string }) {
  return (
    <Pairs
      of={[
        [t(KINDS[of.kind] ?? 'Whom'), of.target],
        [t('Of what'), of.condition],
        [t('Taken'), of.isDead ? t('no: it is a dead letter') : null],
        [t('When'), <Time key="at" at={of.at} />],
        [
          t('Delivery'),
          // What a queue or a bus took has a life of its own there.
          of.isDead || of.kind === 'function' || of.kind === 'webhook' ? (
            <a key="delivery" href={hrefOf(project, 'events', of.delivery)}>
              <code>{of.delivery}</code>
            </a>
          ) : (
            <code key="delivery">{of.delivery}</code>
          ),
        ],
      ]}
    />
  )
}

function Log({ project, name, id }: { project: string; name: string; id: string }) {
  const [lines, setLines] = useState<readonly LogLine[] | null>(null)
  const [error, setError] = useState<unknown>(null)
  const read = async () => {
    try {
      setLines(await api.logsOf(project, name, id))
      setError(null)
    } catch (failed) {
      setError(failed)
    }
  }
  return (
    <>
      {error !== null && <Failure error={error} />}
      {lines && <pre className="output">{lines.length === 0 ? t('It wrote nothing, or its lines are gone.') : lines.map((line) => line.text).join('\n')}</pre>}
      <button type="button" onClick={() => void read()}>
        {t('Show its log')}
      </button>
    </>
  )
}
