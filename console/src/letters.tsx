import { useId, useState } from 'react'
import { api, type DeadLetter, LETTERS_AT_ONCE, type LettersMeant } from './api.ts'
import { Whose } from './calls.tsx'
import { count } from './format.ts'
import { OneLetter } from './letter.tsx'
import { useLoaded } from './load.ts'
import { Card, Confirm, Failure, Shown, Table, Time } from './parts.tsx'
import { hrefOf } from './route.ts'
import { ErrorText, REASONS, saysReason } from './states.tsx'
import { t } from './text.ts'

const PAGE = 50

/** As a field of a page gives a time: local, to the minute; '' is any. */
const asked = (field: string, lastMs: number) => (field === '' ? '' : new Date(new Date(field).getTime() + lastMs).toISOString())
const LAST_OF_MINUTE_MS = 59_999

/** What was given up, of one function or of all (''): filtered, shown, replayed, changed, deleted, downloaded. */
export function Letters({ project, functionName }: { project: string; functionName: string }) {
  const [reason, setReason] = useState('')
  const [from, setFrom] = useState('')
  const [to, setTo] = useState('')
  const [most, setMost] = useState(PAGE)
  const [said, setSaid] = useState<string | null>(null)
  const [doing, setDoing] = useState<'replay' | 'delete' | null>(null)
  const meant: LettersMeant = { function: functionName, reason, from: asked(from, 0), to: asked(to, LAST_OF_MINUTE_MS) }
  const letters = useLoaded(`${project} ${JSON.stringify(meant)} ${most}`, (signal) => api.deadLetters(project, meant, most, signal), 5000)
  const list = letters.value ?? []
  const isAny = functionName === '' && reason === '' && from === '' && to === ''
  const many = list.length < most ? count(list.length) : t('{n} or more', { n: count(list.length) })
  // What is given up while the others are sent again is not meant: else what always fails would never come to an end.
  const bounded = { ...meant, to: list[0]?.deadAt ?? meant.to }
  return (
    <Card
      title={t('Dead letters')}
      wide
      actions={
        list.length > 0 && (
          <>
            <button type="button" onClick={() => setDoing('replay')}>
              {t('Replay all of these')}
            </button>
            <a className="button" href={api.lettersFile(project, meant)} download={`dead-letters-${project}.ndjson`}>
              {t('Export')}
            </a>
            <button type="button" className="danger" onClick={() => setDoing('delete')}>
              {t('Delete all of these')}
            </button>
          </>
        )
      }
    >
      <Filter reason={reason} from={from} to={to} setReason={setReason} setFrom={setFrom} setTo={setTo} />
      {said !== null && <p role="status">{said}</p>}
      <Shown of={letters} isEmpty={(value) => value.length === 0} empty={<p>{isAny ? t('None: no event was given up.') : t('There is none of these.')}</p>}>
        {(value) => <LetterTable list={value} project={project} say={setSaid} again={letters.again} />}
      </Shown>
      {list.length >= most && most < LETTERS_AT_ONCE && (
        <button type="button" onClick={() => setMost(Math.min(most * 4, LETTERS_AT_ONCE))}>
          {t('Show more')}
        </button>
      )}
      {doing === 'replay' && (
        <Confirm
          title={t('Replay {n} dead letters?', { n: many })}
          text={<p>{t('All that the filter means are queued again, as invocations of their own, in the order in which they came once.')}</p>}
          act={t('Replay all of these')}
          harmless
          run={async () => {
            const { replayed, stayed } = await replayAll(project, bounded)
            setSaid(
              stayed === 0
                ? t('{n} are queued again.', { n: count(replayed) })
                : t('{n} are queued again; {stayed} stay, as their function or queue is gone.', { n: count(replayed), stayed: count(stayed) }),
            )
          }}
          close={() => {
            setDoing(null)
            letters.again()
          }}
        />
      )}
      {doing === 'delete' && (
        <Confirm
          title={t('Delete {n} dead letters?', { n: many })}
          text={<p>{t('All that the filter means are gone then, with their events, and cannot be replayed.')}</p>}
          act={t('Delete all of these')}
          run={async () => setSaid(t('{n} are deleted.', { n: count(await deleteAll(project, bounded)) }))}
          close={() => {
            setDoing(null)
            letters.again()
          }}
        />
      )}
    </Card>
  )
}

async function replayAll(project: string, meant: LettersMeant): Promise<{ replayed: number; stayed: number }> {
  for (let all = 0; ; ) {
    const { replayed, stayed } = await api.replayDeadLetters(project, meant)
    all += replayed
    if (replayed === 0 || replayed + stayed < LETTERS_AT_ONCE) return { replayed: all, stayed }
  }
}

async function deleteAll(project: string, meant: LettersMeant): Promise<number> {
  for (let all = 0; ; ) {
    const { removed } = await api.deleteDeadLetters(project, meant)
    all += removed
    if (removed < LETTERS_AT_ONCE) return all
  }
}

interface FilterProps {
  readonly reason: string
  readonly from: string
  readonly to: string
  readonly setReason: (reason: string) => void
  readonly setFrom: (from: string) => void
  readonly setTo: (to: string) => void
}

function Filter({ reason, from, to, setReason, setFrom, setTo }: FilterProps) {
  const id = useId()
  return (
    <div className="filter">
      <div>
        <label htmlFor={`${id}-reason`}>{t('Reason')}</label>
        <select id={`${id}-reason`} value={reason} onChange={(event) => setReason(event.target.value)}>
          <option value="">{t('any')}</option>
          {Object.entries(REASONS).map(([name, text]) => (
            <option key={name} value={name}>
              {t(text)}
            </option>
          ))}
        </select>
      </div>
      <div>
        <label htmlFor={`${id}-from`}>{t('Given up from')}</label>
        <input id={`${id}-from`} type="datetime-local" value={from} onChange={(event) => setFrom(event.target.value)} />
      </div>
      <div>
        <label htmlFor={`${id}-to`}>{t('Given up until')}</label>
        <input id={`${id}-to`} type="datetime-local" value={to} onChange={(event) => setTo(event.target.value)} />
      </div>
    </div>
  )
}

function LetterTable({ list, project, say, again }: { list: readonly DeadLetter[]; project: string; say: (what: string) => void; again: () => void }) {
  const [opened, setOpened] = useState<DeadLetter | null>(null)
  const [removing, setRemoving] = useState<DeadLetter | null>(null)
  const [replaying, setReplaying] = useState<string | null>(null)
  const [error, setError] = useState<unknown>(null)
  const replay = async (letter: DeadLetter) => {
    setReplaying(letter.id)
    setError(null)
    try {
      say(t('It is queued again as {id}.', { id: await api.replayDeadLetter(project, letter.id, null) }))
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
          {
            head: t('Function'),
            main: true,
            cell: (letter) => <Whose of={{ function: letter.function, to: letter.webhook ?? letter.queue }} project={project} />,
          },
          {
            head: t('Given up'),
            cell: (letter) => (
              <a href={hrefOf(project, 'events', letter.id)}>
                <Time at={letter.deadAt} />
              </a>
            ),
          },
          { head: t('Reason'), wide: true, cell: (letter) => saysReason(letter.reason) },
          { head: t('Error'), wide: true, cell: (letter) => <ErrorText type={letter.errorType} message={letter.errorMessage} /> },
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
      {opened && (
        <OneLetter
          of={opened}
          project={project}
          replayed={(id) => {
            say(t('It is queued again as {id}.', { id }))
            again()
          }}
          close={() => setOpened(null)}
        />
      )}
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
