import { useEffect, useId, useRef, useState } from 'react'
import { api, type LogLine } from './api.ts'
import { duration } from './format.ts'
import { Badge, Failure } from './parts.tsx'
import { faultOf, pretty, t } from './text.ts'

type Result = Awaited<ReturnType<typeof api.invoke>>

/** Runs a function with an event, and shows what came back: result, duration, why cold, and the lines it wrote. */
export function InvokeForm({ project, name, done }: { project: string; name: string; done: () => void }) {
  const [event, setEvent] = useState('{}')
  const [busy, setBusy] = useState(false)
  const [result, setResult] = useState<Result | null>(null)
  const [queued, setQueued] = useState<string | null>(null)
  const [lines, setLines] = useState<readonly LogLine[]>([])
  const [error, setError] = useState<unknown>(null)
  const left = useRef(new AbortController())
  const id = useId()
  useEffect(() => {
    left.current = new AbortController()
    return () => left.current.abort()
  }, [])
  // Nothing is the empty event.
  const wrong = event.trim() === '' ? null : faultOf(event)

  const run = async (async: boolean) => {
    setBusy(true)
    setError(null)
    setResult(null)
    setQueued(null)
    setLines([])
    const { signal } = left.current
    try {
      if (async) setQueued((await api.invokeAsync(project, name, event, signal)).invocation)
      else {
        const came = await api.invoke(project, name, event, signal)
        setResult(came)
        setLines(await tail(project, name, came.invocation))
      }
    } catch (failed) {
      if (!signal.aborted) setError(failed)
    } finally {
      setBusy(false)
      done()
    }
  }
  return (
    <form
      onSubmit={(submitted) => {
        submitted.preventDefault()
        if (wrong === null && !busy) void run(false)
      }}
    >
      <label htmlFor={id}>{t('Event (JSON)')}</label>
      <textarea
        id={id}
        rows={6}
        spellCheck={false}
        value={event}
        aria-invalid={wrong !== null}
        aria-describedby={`${id}-wrong`}
        onChange={(changed) => setEvent(changed.target.value)}
        onKeyDown={(key) => {
          if (key.key === 'Enter' && (key.ctrlKey || key.metaKey)) key.currentTarget.form?.requestSubmit()
        }}
      />
      <p id={`${id}-wrong`} className={wrong === null ? 'small' : 'small wrong'}>
        {wrong ?? t('Ctrl + Enter runs it.')}
      </p>
      <div className="actions">
        <button type="submit" className="primary" disabled={wrong !== null || busy}>
          {busy ? t('Running…') : t('Invoke')}
        </button>
        <button type="button" disabled={wrong !== null || busy} onClick={() => void run(true)}>
          {t('Queue it')}
        </button>
      </div>
      <div className="result" aria-live="polite">
        {error !== null && <Failure error={error} />}
        {queued !== null && (
          <p>
            <Badge kind="good">{t('queued')}</Badge> <code>{queued}</code>
          </p>
        )}
        {result && (
          <>
            <p>
              <Badge kind={result.failed ? 'bad' : 'good'}>{result.failed ? t('failed') : t('ok')}</Badge> {duration(result.durationMs)}
              {result.initMs > 0 && ` + ${t('loading')} ${duration(result.initMs)}`} ·{' '}
              {result.cold === null ? t('warm') : t('cold: {why}', { why: result.cold })}
            </p>
            <h3>{t('Result')}</h3>
            <pre className="output">{pretty(result.payload)}</pre>
            <h3>{t('Its log')}</h3>
            <pre className="output">{lines.length === 0 ? '…' : lines.map((line) => line.text).join('\n')}</pre>
          </>
        )}
      </div>
    </form>
  )
}

/** The lines of one invocation; they may come a moment after its answer. */
async function tail(project: string, name: string, invocation: string): Promise<readonly LogLine[]> {
  for (let attempt = 0; ; attempt++) {
    const lines = await api.logsOf(project, name, invocation)
    if (lines.some((line) => line.text.startsWith('REPORT')) || attempt === 8) return lines
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}
