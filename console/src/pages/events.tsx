import { useState } from 'react'
import { api, type DeadLetter } from '../api.ts'
import { bytes, count } from '../format.ts'
import { useLoaded } from '../load.ts'
import { Badge, Card, Confirm, Dialog, Failure, Page, Shown, Table, Time } from '../parts.tsx'
import { hrefOf } from '../route.ts'
import { pretty, type Text, t } from '../text.ts'
import { saysTrigger } from '../triggers.tsx'

const REASONS: Readonly<Record<DeadLetter['reason'], Text>> = {
  attempts: 'all attempts failed',
  age: 'too old',
  node: 'ended the node again and again',
  function_gone: 'its function is gone',
  recursion: 'a loop of functions',
  destination: 'its outcome could not be told',
}

export function EventsPage({ project }: { project: string }) {
  const queue = useLoaded(project, (signal) => api.queue(project, signal), 2000)
  const letters = useLoaded(project, (signal) => api.deadLetters(project, signal), 5000)
  const triggers = useLoaded(project, (signal) => api.triggers(project, signal), 15_000)
  const again = () => {
    letters.again()
    queue.again()
  }
  return (
    <Page title={t('Events')}>
      <Card
        title={t('Queue')}
        wide
        actions={
          queue.value && (
            <>
              <Badge kind="plain">{t('{n} waiting', { n: count(queue.value.waiting) })}</Badge>
              <Badge kind="plain">{t('{n} running', { n: count(queue.value.running) })}</Badge>
            </>
          )
        }
      >
        <Shown of={queue} isEmpty={(value) => value.entries.length === 0} empty={<p>{t('Nothing waits: every event has been worked off.')}</p>}>
          {(value) => (
            <Table
              label={t('Queue')}
              rows={value.entries}
              keyOf={(entry) => entry.id}
              columns={[
                { head: t('Function'), main: true, cell: (entry) => <a href={hrefOf(project, 'functions', entry.function)}>{entry.function}</a> },
                {
                  head: t('State'),
                  cell: (entry) => <Badge kind={entry.state === 'running' ? 'good' : 'plain'}>{entry.state === 'running' ? t('running') : t('waiting')}</Badge>,
                },
                { head: t('Attempt'), number: true, cell: (entry) => count(entry.attempt) },
                { head: t('Failed'), number: true, cell: (entry) => count(entry.spent) },
                { head: t('Queued'), cell: (entry) => <Time at={entry.enqueuedAt} /> },
                { head: t('Due'), cell: (entry) => <Time at={entry.dueAt} /> },
                { head: t('Invocation'), wide: true, cell: (entry) => <code>{entry.id}</code> },
              ]}
            />
          )}
        </Shown>
      </Card>
      <Card title={t('Dead letters')} wide>
        <Shown of={letters} isEmpty={(list) => list.length === 0} empty={<p>{t('None: no event was given up.')}</p>}>
          {(list) => <Letters list={list} project={project} again={again} />}
        </Shown>
      </Card>
      <Card title={t('Triggers')} wide>
        <Shown
          of={triggers}
          isEmpty={(list) => list.length === 0}
          empty={<p>{t('No event starts a function here. Write `triggers` into the mayfly.json of a function and deploy it again.')}</p>}
        >
          {(list) => (
            <Table
              label={t('Triggers')}
              rows={list}
              keyOf={(trigger) => JSON.stringify(trigger)}
              columns={[
                { head: t('Function'), main: true, cell: (trigger) => <a href={hrefOf(project, 'functions', trigger.function)}>{trigger.function}</a> },
                { head: t('Starts at'), wide: true, cell: (trigger) => saysTrigger(project, trigger) },
              ]}
            />
          )}
        </Shown>
      </Card>
    </Page>
  )
}

function Letters({ list, project, again }: { list: readonly DeadLetter[]; project: string; again: () => void }) {
  const [opened, setOpened] = useState<DeadLetter | null>(null)
  const [removing, setRemoving] = useState<DeadLetter | null>(null)
  const [replaying, setReplaying] = useState<string | null>(null)
  const [error, setError] = useState<unknown>(null)
  const replay = async (letter: DeadLetter) => {
    setReplaying(letter.id)
    setError(null)
    try {
      await api.replayDeadLetter(project, letter.id)
    } catch (failed) {
      setError(failed)
    } finally {
      setReplaying(null)
      again()
    }
  }
  return (
    <>
      {error !== null && <Failure error={error} />}
      <Table
        label={t('Dead letters')}
        rows={list}
        keyOf={(letter) => letter.id}
        columns={[
          { head: t('Function'), main: true, cell: (letter) => <a href={hrefOf(project, 'functions', letter.function)}>{letter.function}</a> },
          { head: t('Given up'), cell: (letter) => <Time at={letter.deadAt} /> },
          { head: t('Reason'), wide: true, cell: (letter) => t(REASONS[letter.reason]) },
          {
            head: t('Error'),
            wide: true,
            cell: (letter) => (
              <>
                {letter.errorType && <code>{letter.errorType}</code>} <span className="clip">{letter.errorMessage}</span>
              </>
            ),
          },
          { head: t('Attempts'), number: true, cell: (letter) => count(letter.attempts) },
          {
            head: t('Actions'),
            buttons: true,
            cell: (letter) => (
              <span className="actions">
                <button type="button" aria-label={t('Show the dead letter of {name}', { name: letter.function })} onClick={() => setOpened(letter)}>
                  {t('Show')}
                </button>
                <button
                  type="button"
                  disabled={replaying === letter.id}
                  aria-label={t('Replay the dead letter of {name}', { name: letter.function })}
                  onClick={() => void replay(letter)}
                >
                  {t('Replay')}
                </button>
                <button
                  type="button"
                  className="danger"
                  aria-label={t('Delete the dead letter of {name}', { name: letter.function })}
                  onClick={() => setRemoving(letter)}
                >
                  {t('Delete')}
                </button>
              </span>
            ),
          },
        ]}
      />
      {opened && <OneLetter of={opened} project={project} close={() => setOpened(null)} />}
      {removing && (
        <Confirm
          title={t('Delete this dead letter?')}
          text={<p>{t('Its event is gone then and cannot be replayed.')}</p>}
          act={t('Delete')}
          run={() => api.deleteDeadLetter(project, removing.id)}
          close={() => {
            setRemoving(null)
            again()
          }}
        />
      )}
    </>
  )
}

function OneLetter({ of, project, close }: { of: DeadLetter; project: string; close: () => void }) {
  const whole = useLoaded(`${project}/${of.id}`, (signal) => api.deadLetter(project, of.id, signal))
  return (
    <Dialog title={t('Dead letter')} close={close}>
      <dl className="pairs">
        {(
          [
            [t('Invocation'), of.id],
            [t('Function'), of.function],
            [t('Reason'), t(REASONS[of.reason])],
            [t('Attempts'), `${count(of.attempts)}${of.lost > 0 ? ` (+ ${t('{n} ended with the node', { n: count(of.lost) })})` : ''}`],
            [t('Error'), of.errorType ?? '–'],
            [t('Queued'), <Time key="queued" at={of.enqueuedAt} />],
            [t('Given up'), <Time key="dead" at={of.deadAt} />],
          ] as const
        ).map(([name, value]) => (
          <div key={name} className="pair">
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {of.errorMessage && <pre className="output">{of.errorMessage}</pre>}
      <h3>{t('Event, {size}', { size: bytes(of.payloadBytes) })}</h3>
      <Shown of={whole}>
        {(letter) => (
          <pre className="output">
            {letter.encoding === 'text' && letter.payloadIsWhole ? pretty(letter.payload) : letter.payload}
            {!letter.payloadIsWhole && `\n… ${t('of a long event, the beginning')}`}
          </pre>
        )}
      </Shown>
      <div className="actions">
        <button type="button" onClick={close}>
          {t('Close')}
        </button>
      </div>
    </Dialog>
  )
}
