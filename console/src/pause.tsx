import { useState } from 'react'
import { api } from './api.ts'
import { useLoaded } from './load.ts'
import { Badge, Failure, Time } from './parts.tsx'
import { t } from './text.ts'

/** Lets the queued calls of a function wait, and go on. */
export function PauseButton({ project, name }: { project: string; name: string }) {
  const paused = useLoaded(`${project}/${name}`, async (signal) => ({ at: await api.pausedAt(project, name, signal) }), 5000)
  const [isBusy, setIsBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const run = async (what: Promise<unknown>) => {
    setIsBusy(true)
    setError(null)
    try {
      await what
    } catch (failed) {
      setError(failed)
    } finally {
      setIsBusy(false)
      paused.again()
    }
  }
  // A function that is gone has dead letters, and no queue.
  if (paused.value === null) return null
  const { at } = paused.value
  return (
    <>
      {error !== null && <Failure error={error} />}
      {at !== null && (
        <Badge kind="warn">
          {t('paused')} · <Time at={at} />
        </Badge>
      )}
      {at === null ? (
        <button type="button" disabled={isBusy} onClick={() => void run(api.pause(project, name))}>
          {t('Pause its queue')}
        </button>
      ) : (
        <button type="button" className="primary" disabled={isBusy} onClick={() => void run(api.resume(project, name))}>
          {t('Resume its queue')}
        </button>
      )}
    </>
  )
}
