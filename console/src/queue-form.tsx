import { type FormEvent, useId, useState } from 'react'
import type { QueueInfo, QueueSpec } from '../../client/queues.ts'
import { queuesOf } from './api.ts'
import { Failure } from './parts.tsx'
import { type Text, t } from './text.ts'

const SECONDS = [
  ['visibilitySeconds', 'Hidden after a receive, in seconds', '30'],
  ['delaySeconds', 'Delay of what is sent, in seconds', '0'],
  ['retentionSeconds', 'Kept, in seconds', '345600'],
] as const satisfies readonly (readonly [keyof QueueSpec, Text, string])[]
type Seconds = Record<(typeof SECONDS)[number][0], string>

/**
 * @param of  the queue whose settings are changed; null for a new one
 * @param done  told when they are
 */
export function QueueForm({ project, others, of, done }: { project: string; others: readonly string[]; of: QueueInfo | null; done: () => void }) {
  const id = useId()
  const [name, setName] = useState('')
  const [seconds, setSeconds] = useState<Seconds>(() => secondsOf(of))
  const [dead, setDead] = useState(of?.settings.deadLetter?.queue ?? '')
  const [receives, setReceives] = useState(String(of?.settings.deadLetter?.maxReceives ?? 3))
  const [busy, setBusy] = useState(false)
  const [said, setSaid] = useState<string | null>(null)
  const [error, setError] = useState<unknown>(null)
  const isTaken = of === null && others.includes(name.trim())
  const save = async (submitted: FormEvent) => {
    submitted.preventDefault()
    const to = of?.name ?? name.trim()
    if (busy || isTaken || to === '') return
    setBusy(true)
    setError(null)
    setSaid(null)
    try {
      await queuesOf(project).put(to, specOf(of, seconds, dead === '' ? null : { queue: dead, maxReceives: Number(receives) }))
      if (of === null) setSaid(t('{name} is made.', { name: to }))
      setName('')
      done()
    } catch (failed) {
      setError(failed)
    } finally {
      setBusy(false)
    }
  }
  return (
    <form className="fields" onSubmit={save} autoComplete="off">
      {of === null && (
        <>
          <label htmlFor={`${id}-name`}>{t('Name')}</label>
          <input
            id={`${id}-name`}
            type="text"
            value={name}
            maxLength={80}
            required
            spellCheck={false}
            autoCapitalize="off"
            placeholder="orders"
            onChange={(changed) => setName(changed.target.value)}
          />
        </>
      )}
      {SECONDS.map(([field, label, usual]) => (
        <NumberField
          key={field}
          id={`${id}-${field}`}
          label={t(label)}
          usual={usual}
          value={seconds[field]}
          set={(value) => setSeconds({ ...seconds, [field]: value })}
        />
      ))}
      <label htmlFor={`${id}-dead`}>{t('Dead letters go to')}</label>
      <select id={`${id}-dead`} value={dead} onChange={(changed) => setDead(changed.target.value)}>
        <option value="">{t('none')}</option>
        {[...new Set([...others, ...(dead === '' ? [] : [dead])])]
          .filter((one) => one !== of?.name)
          .map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
      </select>
      {dead !== '' && <NumberField id={`${id}-receives`} label={t('After so many receives')} usual="3" value={receives} set={setReceives} required />}
      <div className="actions">
        <button type="submit" className="primary" disabled={busy || isTaken || (of === null && name.trim() === '')}>
          {of === null ? t('Make it') : t('Change it')}
        </button>
      </div>
      <div aria-live="polite">
        {isTaken && <p className="small">{t('There is a queue of this name.')}</p>}
        {error !== null && <Failure error={error} />}
        {said !== null && <p className="small">{said}</p>}
      </div>
    </form>
  )
}

/** A whole number; empty for the usual one. */
export function NumberField(field: {
  readonly id: string
  readonly label: string
  readonly usual: string
  readonly value: string
  readonly set: (value: string) => void
  readonly required?: boolean
}) {
  return (
    <>
      <label htmlFor={field.id}>{field.label}</label>
      <input
        id={field.id}
        type="text"
        inputMode="numeric"
        pattern="[0-9]*"
        maxLength={8}
        required={field.required ?? false}
        placeholder={field.usual}
        value={field.value}
        onChange={(changed) => field.set(changed.target.value)}
      />
    </>
  )
}

const secondsOf = (of: QueueInfo | null): Seconds => ({
  visibilitySeconds: of === null ? '' : String(of.settings.visibilitySeconds),
  delaySeconds: of === null ? '' : String(of.settings.delaySeconds),
  retentionSeconds: of === null ? '' : String(of.settings.retentionSeconds),
})

/** What the form does not ask stays as it is. */
function specOf(of: QueueInfo | null, seconds: Seconds, deadLetter: QueueSpec['deadLetter'] | null): QueueSpec {
  const { waitSeconds, maxMessageBytes } = of?.settings ?? {}
  return {
    ...(waitSeconds === undefined ? {} : { waitSeconds }),
    ...(maxMessageBytes === undefined ? {} : { maxMessageBytes }),
    ...Object.fromEntries(Object.entries(seconds).flatMap(([name, value]) => (value === '' ? [] : [[name, Number(value)]]))),
    ...(deadLetter ? { deadLetter } : {}),
  }
}
