import type { ReactNode } from 'react'
import type { TriggerInfo } from './api.ts'
import { hrefOf } from './route.ts'
import { t } from './text.ts'

/** A trigger as a sentence. */
export function saysTrigger(project: string, { object, schedule, queue, started }: Omit<TriggerInfo, 'function'>): ReactNode {
  if (!object)
    return (
      <>
        {schedule ? t('schedule') : t('queue')} <code>{schedule ? `${schedule.cron} ${schedule.timezone}` : queue?.name}</code>
        {!started && <> · {t('not started by anything yet')}</>}
      </>
    )
  const where = [...(object.prefix ?? []).map((prefix) => `${prefix}*`), ...(object.suffix ?? []).map((suffix) => `*${suffix}`)]
  return (
    <>
      {t('object {events}', { events: object.events.map((event) => t(event)).join(', ') })} · {t('bucket')}{' '}
      <a href={hrefOf(project, 'buckets', object.bucket)}>{object.bucket}</a>
      {where.length > 0 && (
        <>
          {' '}
          <span className="keys">
            {where.map((one) => (
              <code key={one}>{one}</code>
            ))}
          </span>
        </>
      )}
    </>
  )
}
