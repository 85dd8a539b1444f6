import { type FormEvent, useId, useState } from 'react'
import type { QueueInfo } from '../../../client/queues.ts'
import { api, queuesOf } from '../api.ts'
import { bytes, count } from '../format.ts'
import { useLoaded } from '../load.ts'
import { Badge, Card, Confirm, Failure, Figure, Page, Shown, Time } from '../parts.tsx'
import { NumberField, QueueForm } from '../queue-form.tsx'
import { Messages, Redrive } from '../queue-messages.tsx'
import { hrefOf } from '../route.ts'
import { t } from '../text.ts'
import { saysTrigger } from '../triggers.tsx'
import { ageOf } from './queues.tsx'

const SHOWN = 20

/** One queue: how much is in it, what comes first, and all that can be done with it by hand. */
export function QueuePage({ project, name }: { project: string; name: string }) {
  const key = `${project}/${name}`
  const shown = useLoaded(key, (signal) => queuesOf(project, signal).show(name), 3000)
  const messages = useLoaded(key, (signal) => queuesOf(project, signal).peek(name, SHOWN), 3000)
  const others = useLoaded(project, async (signal) => (await queuesOf(project, signal).list()).map((one) => one.name))
  const [asked, setAsked] = useState<'purge' | 'remove' | null>(null)
  const [isChanged, setChanged] = useState(false)
  const queue = shown.value?.queue
  const again = () => {
    shown.again()
    messages.again()
  }
  const total = queue === undefined ? 0 : queue.visible + queue.inFlight + queue.delayed
  return (
    <Page
      title={name}
      over={
        <p className="over">
          <a href={hrefOf(project, 'queues')}>{t('Queues')}</a> /
        </p>
      }
      actions={
        queue && (
          <>
            <button type="button" className="danger" disabled={total === 0} onClick={() => setAsked('purge')}>
              {t('Purge')}
            </button>
            <button type="button" className="danger" onClick={() => setAsked('remove')}>
              {t('Remove')}
            </button>
          </>
        )
      }
    >
      <Shown of={shown}>{(value) => <Figures of={value.queue} />}</Shown>
      {queue && (
        <>
          {shown.value && (queue.deadLettersOf.length > 0 || shown.value.moves.length > 0) && (
            <Card title={queue.deadLettersOf.length === 0 ? t('Moves') : t('Dead letters of {names}', { names: queue.deadLettersOf.join(', ') })} wide>
              <Redrive project={project} of={queue} moves={shown.value.moves} others={others.value ?? []} done={again} />
            </Card>
          )}
          <Card title={t('First messages')} wide>
            <Messages of={messages} />
          </Card>
          <div className="cards two">
            <Card title={t('Send a message')}>
              <SendForm project={project} name={name} done={again} />
            </Card>
            <Card title={t('Settings')} actions={<span aria-live="polite">{isChanged && <Badge kind="good">{t('Changed.')}</Badge>}</span>}>
              {/* Anew when they are changed from elsewhere, so that it never writes what is over. */}
              <QueueForm
                key={JSON.stringify(queue.settings)}
                project={project}
                others={others.value ?? []}
                of={queue}
                done={() => {
                  setChanged(true)
                  again()
                }}
              />
            </Card>
            <Card title={t('Functions at it')}>
              <Readers project={project} name={name} />
            </Card>
          </div>
        </>
      )}
      {asked === 'purge' && (
        <Confirm
          title={t('Purge {name}?', { name })}
          text={<p>{t('All {n} messages that are in it are deleted. This cannot be taken back.', { n: count(total) })}</p>}
          act={t('Purge')}
          run={() => queuesOf(project).purge(name).finally(again)}
          close={() => setAsked(null)}
        />
      )}
      {asked === 'remove' && (
        <Confirm
          title={t('Remove {name}?', { name })}
          text={<p>{total === 0 ? t('It is empty.') : t('Its {n} messages go with it. This cannot be taken back.', { n: count(total) })}</p>}
          act={t('Remove')}
          run={async () => {
            await queuesOf(project).remove(name, total > 0)
            location.hash = hrefOf(project, 'queues')
          }}
          close={() => setAsked(null)}
        />
      )}
    </Page>
  )
}

function Figures({ of }: { of: QueueInfo }) {
  return (
    <dl className="figures">
      <Figure label={t('Waiting')} value={count(of.visible)} bad={of.deadLettersOf.length > 0 && of.visible > 0} />
      <Figure label={t('In flight')} value={count(of.inFlight)} note={t('received, not done yet')} />
      <Figure label={t('Delayed')} value={count(of.delayed)} />
      <Figure
        label={t('Oldest')}
        value={of.oldestSentAt === null ? '–' : ageOf(of.oldestSentAt)}
        note={of.oldestSentAt === null ? undefined : <Time at={of.oldestSentAt} />}
      />
      <Figure label={t('Size')} value={bytes(of.bytes)} />
    </dl>
  )
}

function Readers({ project, name }: { project: string; name: string }) {
  const triggers = useLoaded(project, (signal) => api.triggers(project, signal), 15_000)
  return (
    <Shown
      of={triggers}
      isEmpty={(all) => !all.some((one) => one.queue?.name === name)}
      empty={<p>{t('None: write `triggers` into a mayfly.json, or receive by any SQS client.')}</p>}
    >
      {(all) => (
        <ul className="plain">
          {all
            .filter((one) => one.queue?.name === name)
            .map((one) => (
              <li key={JSON.stringify(one)}>
                <a href={hrefOf(project, 'functions', one.function)}>{one.function}</a> · {saysTrigger(project, one)}
              </li>
            ))}
        </ul>
      )}
    </Shown>
  )
}

function SendForm({ project, name, done }: { project: string; name: string; done: () => void }) {
  const id = useId()
  const [body, setBody] = useState('')
  const [delay, setDelay] = useState('')
  const [busy, setBusy] = useState(false)
  const [said, setSaid] = useState<string | null>(null)
  const [error, setError] = useState<unknown>(null)
  const send = async (submitted: FormEvent) => {
    submitted.preventDefault()
    if (busy || body === '') return
    setBusy(true)
    setError(null)
    setSaid(null)
    try {
      const [sent = ''] = await queuesOf(project).send(name, body, delay === '' ? undefined : Number(delay))
      setSaid(sent)
      setBody('')
    } catch (failed) {
      setError(failed)
    } finally {
      setBusy(false)
      done()
    }
  }
  return (
    <form className="fields" onSubmit={send} autoComplete="off">
      <label htmlFor={`${id}-body`}>{t('Message')}</label>
      <textarea
        id={`${id}-body`}
        rows={5}
        value={body}
        required
        spellCheck={false}
        placeholder='{"order":42}'
        onChange={(changed) => setBody(changed.target.value)}
      />
      <NumberField id={`${id}-delay`} label={t('Delay, in seconds')} usual={t('as the queue')} value={delay} set={setDelay} />
      <div className="actions">
        <button type="submit" className="primary" disabled={busy || body === ''}>
          {t('Send it')}
        </button>
      </div>
      <div aria-live="polite">
        {error !== null && <Failure error={error} />}
        {said !== null && (
          <p className="small">
            {t('On disk as')} <code>{said}</code>
          </p>
        )}
      </div>
    </form>
  )
}
