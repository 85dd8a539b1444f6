import type { ReactNode } from 'react'
import type { TriggerInfo } from './api.ts'
import { hrefOf } from './route.ts'
import { t } from './text.ts'

/** A trigger as a sentence. */
export function saysTrigger(project: string, trigger: Omit<TriggerInfo, 'function'>): ReactNode {
  const { object, queue, mapping, started, enabled } = trigger
  const rests = enabled === false ? <> · {t('at rest')}</> : !started && <> · {t('not started by anything yet')}</>
  if (queue)
    return (
      <>
        {t('queue')} <a href={hrefOf(project, 'queues', queue.name)}>{queue.name}</a>
        {mapping && <> · {mapping.qualifier === null ? t('event source mapping') : t('event source mapping of {name}', { name: mapping.qualifier })}</>}
        {rests}
      </>
    )
  if (!object)
    return (
      <>
        {saysSource(trigger)}
        {rests}
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

function saysSource({ schedule, topic, row, bus, log, webhook, http, address }: Omit<TriggerInfo, 'function'>): ReactNode {
  const [what, which] = schedule
    ? [t('schedule'), `${schedule.cron ?? schedule.at ?? t('every {seconds} s', { seconds: schedule.every ?? 0 })} ${schedule.timezone}`]
    : topic
      ? [t('topic'), topic.name]
      : row
        ? [t('rows {events}', { events: row.events.map((event) => t(event)).join(', ') }), row.table]
        : webhook
          ? [t('webhook {provider}', { provider: webhook.provider }), address ?? '']
          : log
            ? [t('log of {name}', { name: log.function }), log.pattern ?? '']
            : http
              ? [http.methods?.join(', ') ?? t('any method'), address ?? '']
              : [t('bus'), `${bus?.name ?? ''}${bus?.pattern === undefined ? '' : ` ${JSON.stringify(bus.pattern)}`}`]
  return (
    <>
      {what} <code>{which}</code>
    </>
  )
}
