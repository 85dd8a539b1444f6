import { Cron } from 'croner'
import type { AppBuild } from './client.ts'

type AppFunction = AppBuild['functions'][number]

/** What starts a function of an app, as a mayfly.json says it; or why none of that can be said. */
export interface AzureTriggers {
  readonly triggers: readonly object[]
  /** Sentences about what is not kept. */
  readonly warnings: readonly string[]
}

const NAME = /^[a-zA-Z0-9_-]{1,80}$/
const TIME_SPAN = /^(?:(\d+)\.)?(\d+):(\d+):(\d+)$/
const one = (trigger: object): AzureTriggers => ({ triggers: [trigger], warnings: [] })
const none = (...warnings: readonly string[]): AzureTriggers => ({ triggers: [], warnings })

/** @param zone  where the schedules of the app are meant, as its setting WEBSITE_TIME_ZONE says */
export function azureTriggers({ trigger, details }: AppFunction, zone: string | undefined): AzureTriggers {
  switch (trigger.toLowerCase()) {
    case 'blobtrigger':
      return typeof details.path === 'string' ? one(ofBlob(details.path)) : none()
    case 'timertrigger':
      return ofTimer(details, zone)
    case 'queuetrigger':
      // One message is one invocation, as there.
      return ofQueue(details.queueName, { batchSize: 1, ...takingOf(details) })
    case 'servicebustrigger': {
      const { topicName, subscriptionName, queueName, cardinality } = details
      if (typeof topicName !== 'string')
        return ofQueue(queueName, { batchSize: String(cardinality ?? 'one').toLowerCase() === 'many' ? 10 : 1, ...takingOf(details) })
      const subscription = typeof subscriptionName === 'string' && /^[a-zA-Z0-9._-]{1,80}$/.test(subscriptionName) ? { subscription: subscriptionName } : {}
      return NAME.test(topicName) ? one({ topic: { name: topicName, ...subscription } }) : none(noName('topic', topicName, 'topic'))
    }
    case 'eventgridtrigger':
      return one({ bus: {} })
    case 'cosmosdbtrigger':
      return ofRows(details)
    default:
      return none()
  }
}

/** `photos/{name}.png` is the bucket `photos`, and what its keys begin and end with. */
function ofBlob(at: string): object {
  const slash = at.indexOf('/')
  const rest = slash === -1 ? '' : at.slice(slash + 1)
  const prefix = rest.includes('{') ? rest.slice(0, rest.indexOf('{')) : rest
  const suffix = rest.includes('}') ? rest.slice(rest.lastIndexOf('}') + 1) : ''
  const bucket = slash === -1 ? at : at.slice(0, slash)
  return { object: { bucket, events: ['created'], ...(prefix === '' ? {} : { prefix: [prefix] }), ...(suffix === '' ? {} : { suffix: [suffix] }) } }
}

function ofTimer({ schedule, runOnStartup }: AppFunction['details'], zone: string | undefined): AzureTriggers {
  const warnings = runOnStartup === true ? ['"runOnStartup" is not served: no deploy starts it.'] : []
  const text = String(schedule ?? '').trim()
  const every = secondsOf(text)
  if (every !== null) return { triggers: [{ schedule: { every } }], warnings }
  const cron = cronOf(text)
  if (!comes(cron))
    return none(...warnings, `the schedule ${JSON.stringify(text)} names no time that comes; \`mayfly invoke\` with \`--event schedule\` starts it.`)
  if (zone !== undefined && !isZone(zone))
    warnings.push(`WEBSITE_TIME_ZONE is ${JSON.stringify(zone)}, which is no time zone such as "Asia/Seoul": the schedule is in UTC.`)
  return { triggers: [{ schedule: { cron, ...(zone !== undefined && isZone(zone) ? { timezone: zone } : {}) } }], warnings }
}

/** `hh:mm:ss`, which from 24 on is `dd:hh:mm`, or `d.hh:mm:ss`. */
function secondsOf(text: string): number | null {
  const [, before, ...rest] = TIME_SPAN.exec(text) ?? []
  if (rest.length === 0) return null
  const [first = 0, second = 0, third = 0] = rest.map(Number)
  const [days, hours, minutes, seconds] = before === undefined && first >= 24 ? [first, second, third, 0] : [Number(before ?? 0), first, second, third]
  const all = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
  return all > 0 && all <= 366 * 86_400 ? all : null
}

/** NCRONTAB begins with seconds; where it names both days of the month and of the week, both have to hold. */
function cronOf(text: string): string {
  const fields = text.split(/\s+/)
  const [seconds, ...rest] = fields.length === 6 ? fields : ['0', ...fields]
  const [, , day, , weekday] = rest
  if (day !== '*' && weekday !== '*' && weekday !== undefined) rest[4] = `+${weekday}`
  return [...(seconds === '0' ? [] : [seconds]), ...rest].join(' ')
}

function comes(cron: string): boolean {
  try {
    return new Cron(cron, { paused: true, mode: '5-or-6-parts', timezone: 'UTC' }).nextRun() !== null
  } catch {
    return false
  }
}

function isZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== ''
  } catch {
    return false
  }
}

const noName = (what: string, name: unknown, event: string) =>
  `the ${what} ${JSON.stringify(name ?? '')} has no name that is one here (1 to 80 letters, digits, - and _); \`mayfly invoke\` with \`--event ${event}\` starts it.`

const ofQueue = (name: unknown, taking: object): AzureTriggers =>
  typeof name === 'string' && NAME.test(name) ? one({ queue: { name, ...taking } }) : none(noName('queue', name, 'queue'))

const MOST_HIDDEN = 43_200
const MOST_AT_ONCE = 1_000

/** When a message that failed comes again, by the policy of its function, else as host.json says; and how many are in work at once. */
function takingOf(details: AppFunction['details']): object {
  const { retry, retryAfter, atOnce } = details as { retry?: Retry; retryAfter?: number; atOnce?: number }
  const after = retry ? retryAfterOf(retry) : retryAfter
  return {
    ...(after === undefined ? {} : { retryAfter: typeof after === 'number' ? Math.min(MOST_HIDDEN, after) : within(after) }),
    ...(Number.isInteger(atOnce) ? { parallelism: Math.max(1, Math.min(MOST_AT_ONCE, Number(atOnce))) } : {}),
  }
}

const within = ({ least, most }: { readonly least: number; readonly most: number }) => ({
  least: Math.min(MOST_HIDDEN, least),
  most: Math.min(MOST_HIDDEN, most),
})

/** A policy as the library of Azure keeps it. */
export interface Retry {
  readonly maxRetryCount: number
  readonly strategy: string
  readonly delayInterval?: { readonly seconds: number }
  readonly minimumInterval?: { readonly seconds: number }
  readonly maximumInterval?: { readonly seconds: number }
}

/** How many seconds lie between two tries. */
export function retryAfterOf({ strategy, delayInterval, minimumInterval, maximumInterval }: Retry): number | { readonly least: number; readonly most: number } {
  if (strategy === 'fixedDelay') return delayInterval?.seconds ?? 0
  const least = minimumInterval?.seconds ?? 0
  return { least, most: Math.max(least, maximumInterval?.seconds ?? least) }
}

/** A container is a table of the project, and its feed of changes the rows that come and change. */
function ofRows({ containerName, collectionName, changeFeedMode }: AppFunction['details']): AzureTriggers {
  const table = containerName ?? collectionName
  if (typeof table !== 'string' || !/^[^.]{1,63}$/.test(table))
    return none(`the container ${JSON.stringify(table ?? '')} is no name of a table; \`mayfly invoke\` with \`--event row\` starts it.`)
  const events = /AllVersionsAndDeletes/i.test(String(changeFeedMode ?? '')) ? ['insert', 'update', 'delete'] : ['insert', 'update']
  return one({ row: { table: `public.${table}`, events } })
}
