import { type ReactNode, useEffect, useId, useRef, useState } from 'react'
import { ApiError, OfflineError } from './api.ts'
import { localTime, utcTime } from './format.ts'
import type { Loaded } from './load.ts'
import { type Text, t } from './text.ts'

export function Page({ title, over, actions, children }: { title: string; over?: ReactNode; actions?: ReactNode; children: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · ${t('Mayfly console')}`
  }, [title])
  return (
    <>
      <header className="page-head">
        <div>
          {over}
          <h1>{title}</h1>
        </div>
        {actions && <div className="actions">{actions}</div>}
      </header>
      {children}
    </>
  )
}

export function Card({ title, actions, children, wide }: { title: string; actions?: ReactNode; children: ReactNode; wide?: boolean }) {
  const id = useId()
  return (
    <section className={wide ? 'card wide' : 'card'} aria-labelledby={id}>
      <div className="card-head">
        <h2 id={id}>{title}</h2>
        {actions && <div className="actions">{actions}</div>}
      </div>
      {children}
    </section>
  )
}

/** A number that stands for itself. */
export function Figure({ label, value, note, bad }: { label: string; value: string | null; note?: ReactNode; bad?: boolean }) {
  return (
    <div className={bad ? 'figure bad' : 'figure'}>
      <dt>{label}</dt>
      <dd>
        <span className={(value?.length ?? 0) > 10 ? 'value long' : 'value'}>{value ?? '…'}</span>
        <span className="note">{note ?? ' '}</span>
      </dd>
    </div>
  )
}

/** What a list holds, or why there is nothing: still loading, failed, or empty. */
export function Shown<T>({
  of,
  empty,
  isEmpty,
  children,
}: {
  of: Loaded<T>
  empty?: ReactNode
  isEmpty?: (value: T) => boolean
  children: (value: T) => ReactNode
}) {
  return (
    <>
      {of.error !== null && <Failure error={of.error} again={of.again} />}
      {of.value === null ? (
        of.error === null && <p className="loading">{t('Loading…')}</p>
      ) : isEmpty?.(of.value) ? (
        <div className="empty">{empty}</div>
      ) : (
        children(of.value)
      )}
    </>
  )
}

/** What went wrong in the node's own words: code, message, and what to do. */
export function Failure({ error, again }: { error: unknown; again?: () => void }) {
  const { code, message, hint, id } = told(error)
  return (
    <div className="failure" role="alert">
      <p>
        {code && <code>{code}</code>} {message}
      </p>
      {hint && <p>{hint}</p>}
      {id && (
        <p className="small">
          {t('Request')} <code>{id}</code>
        </p>
      )}
      {again && (
        <button type="button" onClick={again}>
          {t('Try again')}
        </button>
      )}
    </div>
  )
}

function told(error: unknown): { code: string; message: string; hint: string; id: string } {
  if (error instanceof OfflineError)
    return {
      code: '',
      message: t('The node does not answer.'),
      hint: t('Is it still running? `npx mayfly up` starts it. The page asks again by itself.'),
      id: '',
    }
  if (error instanceof ApiError) {
    const code = error.code === 'unknown' ? `HTTP ${error.status}` : error.code
    return { code, message: error.message, hint: error.hint, id: error.requestId }
  }
  return { code: '', message: error instanceof Error ? error.message : String(error), hint: '', id: '' }
}

export function Time({ at }: { at: string }) {
  const date = new Date(at)
  return (
    <time dateTime={at} title={utcTime(date)}>
      {localTime(date, new Date())}
    </time>
  )
}

export function Badge({ kind, children }: { kind: 'good' | 'bad' | 'warn' | 'plain'; children: ReactNode }) {
  return <span className={`badge ${kind}`}>{children}</span>
}

export const stateKind = (state: string) => (state === 'active' ? 'good' : state === 'failed' ? 'bad' : 'warn')

/** A line of text with a button that copies it. */
export function Copyable({ text, label }: { text: string; label: string }) {
  return (
    <span className="copyable">
      <code>{text}</code>
      <CopyButton text={text} label={label} />
    </span>
  )
}

export function CopyButton({ text, label, children }: { text: string; label: string; children?: ReactNode }) {
  const [said, setSaid] = useState<Text | null>(null)
  useEffect(() => {
    if (said === null) return
    const timer = setTimeout(() => setSaid(null), 2000)
    return () => clearTimeout(timer)
  }, [said])
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text)
      setSaid('Copied')
    } catch {
      setSaid('Not allowed')
    }
  }
  return (
    <button type="button" className="copy" aria-label={label} onClick={copy}>
      {/* Both words have their place, so that nothing moves. */}
      <span aria-live="polite">{said === null ? (children ?? t('Copy')) : t(said)}</span>
    </button>
  )
}

/** A secret is asked for when it is wanted, and not before. */
export function Dialog({ title, close, children }: { title: string; close: () => void; children: ReactNode }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const id = useId()
  useEffect(() => {
    const element = dialog.current
    element?.showModal()
    const outside = (event: MouseEvent) => event.target === element && element?.close()
    element?.addEventListener('click', outside)
    return () => element?.removeEventListener('click', outside)
  }, [])
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={close}>
      <div className="dialog-body">
        <h2 id={id}>{title}</h2>
        {children}
      </div>
    </dialog>
  )
}

/** Asks before what cannot be taken back; stays open with the reason when it fails. */
export function Confirm({
  title,
  text,
  act,
  harmless,
  run,
  close,
}: {
  title: string
  text: ReactNode
  act: string
  /** Nothing is lost by it. */
  harmless?: boolean
  run: () => Promise<unknown>
  close: () => void
}) {
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const go = async () => {
    setBusy(true)
    setError(null)
    try {
      await run()
      close()
    } catch (failed) {
      setError(failed)
      setBusy(false)
    }
  }
  return (
    <Dialog title={title} close={close}>
      <div>{text}</div>
      {error !== null && <Failure error={error} />}
      <div className="actions">
        <button type="button" onClick={close}>
          {t('Cancel')}
        </button>
        <button type="button" className={harmless ? 'primary' : 'danger'} disabled={busy} onClick={go}>
          {act}
        </button>
      </div>
    </Dialog>
  )
}

/** Names with what they are; what is null is left out. */
export function Pairs({ of }: { of: readonly (readonly [string, ReactNode])[] }) {
  return (
    <dl className="pairs">
      {of.map(
        ([name, value]) =>
          value !== null && (
            <div key={name} className="pair">
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ),
      )}
    </dl>
  )
}

export interface Column<T> {
  readonly head: string
  readonly cell: (row: T) => ReactNode
  readonly number?: boolean
  /** Stands first and bold where the table becomes a list of cards. */
  readonly main?: boolean
  /** Buttons, which need no head there. */
  readonly buttons?: boolean
  /** Has a line of its own there. */
  readonly wide?: boolean
}

/** A table where there is room; on a narrow screen each row is a card with its heads beside the values. */
export function Table<T>({ label, rows, columns, keyOf }: { label: string; rows: readonly T[]; columns: readonly Column<T>[]; keyOf: (row: T) => string }) {
  return (
    <table aria-label={label}>
      <thead>
        <tr>
          {columns.map((column) => (
            <th key={column.head} scope="col" className={column.number ? 'number' : undefined}>
              {column.head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={keyOf(row)}>
            {columns.map((column) => (
              <td
                key={column.head}
                data-head={column.head}
                className={column.number ? 'number' : column.main ? 'main' : column.buttons ? 'buttons' : column.wide ? 'wide' : undefined}
              >
                <div>{column.cell(row)}</div>
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  )
}
