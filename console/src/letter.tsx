import { useId, useState } from 'react'
import { api, type DeadLetter, type WholeLetter } from './api.ts'
import { bytes, count } from './format.ts'
import { useLoaded } from './load.ts'
import { Dialog, Failure, Pairs, Shown, Time } from './parts.tsx'
import { hrefOf } from './route.ts'
import { saysReason } from './states.tsx'
import { faultOf, pretty, t } from './text.ts'

/** A dead letter with its event, which is changed and sent again from here. */
export function OneLetter({ of, project, replayed, close }: { of: DeadLetter; project: string; replayed: (id: string) => void; close: () => void }) {
  const [isEdited, setIsEdited] = useState(false)
  return (
    <Dialog title={t('Dead letter')} close={close}>
      <Pairs
        of={[
          [
            t('Invocation'),
            <a key="life" href={hrefOf(project, 'events', of.id)}>
              {of.id}
            </a>,
          ],
          [t('Function'), of.function],
          [t('Was to tell'), of.webhook ?? of.queue ?? null],
          [t('Reason'), saysReason(of.reason)],
          [t('Attempts'), `${count(of.attempts)}${of.lost > 0 ? ` (+ ${t('{n} ended with the node', { n: of.lost })})` : ''}`],
          [t('Error'), of.errorType ?? '–'],
          [t('Queued'), <Time key="queued" at={of.enqueuedAt} />],
          [t('Given up'), <Time key="dead" at={of.deadAt} />],
        ]}
      />
      {of.errorMessage && <pre className="output">{of.errorMessage}</pre>}
      {isEdited ? (
        <EditedEvent
          project={project}
          id={of.id}
          replayed={(id) => {
            replayed(id)
            close()
          }}
          close={() => setIsEdited(false)}
        />
      ) : (
        <>
          <LetterEvent project={project} id={of.id} size={of.payloadBytes} />
          <div className="actions">
            <button type="button" onClick={() => setIsEdited(true)}>
              {t('Edit and replay')}
            </button>
            <button type="button" onClick={close}>
              {t('Close')}
            </button>
          </div>
        </>
      )}
    </Dialog>
  )
}

/** The event, or the beginning of a long one. */
export function LetterEvent({ project, id, size }: { project: string; id: string; size?: number }) {
  const whole = useLoaded(`${project}/${id}`, (signal) => api.deadLetter(project, id, false, signal))
  const of = size ?? whole.value?.payloadBytes
  return (
    <>
      <h3>{of === undefined ? t('Event') : t('Event, {size}', { size: bytes(of) })}</h3>
      <Shown of={whole}>
        {(letter) => (
          <pre className="output">
            {letter.encoding === 'text' && letter.payloadIsWhole ? pretty(letter.payload) : letter.payload}
            {!letter.payloadIsWhole && `\n… ${t('of a long event, the beginning')}`}
          </pre>
        )}
      </Shown>
    </>
  )
}

/** The whole event in a field: it goes only when it is JSON. */
export function EditedEvent({ project, id, replayed, close }: { project: string; id: string; replayed: (id: string) => void; close: () => void }) {
  const whole = useLoaded(`${project}/${id}`, (signal) => api.deadLetter(project, id, true, signal))
  return (
    <Shown of={whole}>
      {(letter) => (
        <Editor key={letter.id} first={firstText(letter)} send={(event) => api.replayDeadLetter(project, id, event)} replayed={replayed} close={close} />
      )}
    </Shown>
  )
}

interface EditorProps {
  readonly first: string
  readonly send: (event: string) => Promise<string>
  readonly replayed: (id: string) => void
  readonly close: () => void
}

function Editor({ first, send, replayed, close }: EditorProps) {
  const [event, setEvent] = useState(first)
  const [isBusy, setIsBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const id = useId()
  const wrong = faultOf(event)
  const go = async () => {
    setIsBusy(true)
    setError(null)
    try {
      replayed(await send(event))
    } catch (failed) {
      setError(failed)
      setIsBusy(false)
    }
  }
  return (
    <form
      onSubmit={(submitted) => {
        submitted.preventDefault()
        if (wrong === null && !isBusy) void go()
      }}
    >
      <label htmlFor={id}>{t('Event (JSON)')}</label>
      <textarea
        id={id}
        rows={12}
        spellCheck={false}
        value={event}
        aria-invalid={wrong !== null}
        aria-describedby={`${id}-wrong`}
        onChange={(changed) => setEvent(changed.target.value)}
      />
      <p id={`${id}-wrong`} className={wrong === null ? 'small' : 'small wrong'}>
        {wrong ?? t('It is queued as an invocation of its own, and the dead letter is gone then.')}
      </p>
      {error !== null && <Failure error={error} />}
      <div className="actions">
        <button type="button" onClick={close}>
          {t('Cancel')}
        </button>
        <button type="submit" className="primary" disabled={wrong !== null || isBusy}>
          {t('Replay with this event')}
        </button>
      </div>
    </form>
  )
}

/** With a line for each value, where nothing but spaces changes by that: not where a number is too long for this page. */
function firstText({ encoding, payload }: WholeLetter): string {
  if (encoding === 'base64') return ''
  const shown = pretty(payload)
  return faultOf(payload) === null && JSON.stringify(JSON.parse(payload)) === payload ? shown : payload
}
