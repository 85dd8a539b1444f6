import { type FormEvent, type ReactNode, useId, useState } from 'react'
import type { MoveInfo, PeekedMessage, QueueInfo } from '../../client/queues.ts'
import { queuesOf } from './api.ts'
import { bytes, count } from './format.ts'
import type { Loaded } from './load.ts'
import { Badge, Dialog, Failure, Shown, Table, Time } from './parts.tsx'
import { NumberField } from './queue-form.tsx'
import { pretty, type Text, t } from './text.ts'

/** The first of a queue as they lie there: to look at them receives none. */
export function Messages({ of }: { of: Loaded<readonly PeekedMessage[]> }) {
  const [opened, setOpened] = useState<PeekedMessage | null>(null)
  return (
    <>
      <Shown of={of} isEmpty={(list) => list.length === 0} empty={<p>{t('None: the queue is empty.')}</p>}>
        {(list) => (
          <Table
            label={t('First messages')}
            rows={list}
            keyOf={(message) => message.id}
            columns={[
              { head: t('Message'), main: true, cell: (message) => <code className="clip">{message.body.slice(0, 300)}</code> },
              { head: t('State'), cell: (message) => <Standing of={message} /> },
              { head: t('Sent'), cell: (message) => <Time at={message.sentAt} /> },
              { head: t('Receives'), number: true, cell: (message) => count(message.receiveCount) },
              { head: t('Size'), number: true, cell: (message) => bytes(message.bytes) },
              {
                head: t('Actions'),
                buttons: true,
                cell: (message) => (
                  <span className="actions">
                    <button type="button" aria-label={t('Show the message {name}', { name: message.id })} onClick={() => setOpened(message)}>
                      {t('Show')}
                    </button>
                  </span>
                ),
              },
            ]}
          />
        )}
      </Shown>
      <p className="small">{t('What is looked at here stays as it is.')}</p>
      {opened && <OneMessage of={opened} close={() => setOpened(null)} />}
    </>
  )
}

function Standing({ of }: { of: PeekedMessage }) {
  const isHidden = Date.parse(of.visibleAt) > Date.now()
  return (
    <span className="one-line">
      <Badge kind={isHidden ? 'warn' : 'plain'}>{isHidden ? (of.receiveCount > 0 ? t('in flight') : t('delayed')) : t('waiting')}</Badge>
    </span>
  )
}

function OneMessage({ of, close }: { of: PeekedMessage; close: () => void }) {
  const rows = [
    ['Id', <code key="id">{of.id}</code>],
    ['State', <Standing key="state" of={of} />],
    ['Sent', <Time key="sent" at={of.sentAt} />],
    ['Can be received from', <Time key="visible" at={of.visibleAt} />],
    ['Receives', count(of.receiveCount)],
    ['Size', bytes(of.bytes)],
  ] as const satisfies readonly (readonly [Text, ReactNode])[]
  return (
    <Dialog title={t('Message')} close={close}>
      <dl className="pairs">
        {rows.map(([name, value]) => (
          <div key={name} className="pair">
            <dt>{t(name)}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <pre className="output">
        {of.bodyIsWhole ? pretty(of.body) : of.body}
        {!of.bodyIsWhole && `\n… ${t('of a long message, the beginning')}`}
      </pre>
      <div className="actions">
        <button type="button" onClick={close}>
          {t('Close')}
        </button>
      </div>
    </Dialog>
  )
}

const STATES: Readonly<Record<MoveInfo['state'], readonly ['good' | 'bad' | 'warn' | 'plain', Text]>> = {
  running: ['good', 'running'],
  completed: ['plain', 'done'],
  cancelled: ['warn', 'stopped'],
  failed: ['bad', 'failed'],
}

/** The way back of dead letters, and the last moves of this queue. */
export function Redrive({
  project,
  of,
  moves,
  others,
  done,
}: {
  project: string
  of: QueueInfo
  moves: readonly MoveInfo[]
  others: readonly string[]
  done: () => void
}) {
  const id = useId()
  const [to, setTo] = useState('')
  const [rate, setRate] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const runs = moves.some((move) => move.state === 'running')
  const act = async (what: () => Promise<unknown>) => {
    if (busy) return
    setBusy(true)
    setError(null)
    try {
      await what()
    } catch (failed) {
      setError(failed)
    } finally {
      setBusy(false)
      done()
    }
  }
  const bring = (submitted: FormEvent) => {
    submitted.preventDefault()
    void act(() => queuesOf(project).redrive(of.name, { ...(to === '' ? {} : { to }), ...(rate === '' ? {} : { perSecond: Number(rate) }) }))
  }
  return (
    <>
      {of.deadLettersOf.length > 0 && (
        <form className="fields" onSubmit={bring}>
          <label htmlFor={`${id}-to`}>{t('Bring them back to')}</label>
          <select id={`${id}-to`} value={to} onChange={(changed) => setTo(changed.target.value)}>
            <option value="">{t('the queue that gave them up')}</option>
            {others
              .filter((one) => one !== of.name)
              .map((one) => (
                <option key={one} value={one}>
                  {one}
                </option>
              ))}
          </select>
          <NumberField id={`${id}-rate`} label={t('At most, a second')} usual={t('as fast as it goes')} value={rate} set={setRate} />
          <div className="actions">
            <button type="submit" className="primary" disabled={busy || runs || of.visible === 0}>
              {t('Bring back')}
            </button>
            {runs && (
              <button type="button" disabled={busy} onClick={() => void act(() => queuesOf(project).stopRedrive(of.name))}>
                {t('Stop it')}
              </button>
            )}
          </div>
        </form>
      )}
      {error !== null && <Failure error={error} />}
      {moves.length > 0 && (
        <>
          <h3>{t('Moves')}</h3>
          <Table
            label={t('Moves')}
            rows={moves}
            keyOf={(move) => move.startedAt}
            columns={[
              { head: t('Started'), main: true, cell: (move) => <Time at={move.startedAt} /> },
              { head: t('To'), cell: (move) => move.to ?? t('the queue that gave them up') },
              {
                head: t('State'),
                wide: true,
                cell: (move) => (
                  <>
                    <Badge kind={STATES[move.state][0]}>{t(STATES[move.state][1])}</Badge> {move.failure}
                  </>
                ),
              },
              { head: t('Moved'), number: true, cell: (move) => `${count(move.moved)} / ${count(move.total)}` },
            ]}
          />
        </>
      )}
    </>
  )
}
