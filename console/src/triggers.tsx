import type { ReactNode } from 'react'
import type { TriggerInfo } from './api.ts'
import { hrefOf } from './route.ts'
import { t } from './text.ts'

/** A trigger as a sentence. */
export function saysTrigger(project: string, { object }: Omit<TriggerInfo, 'function'>): ReactNode {
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
