import { DEFAULTS, RANGES, type QueueSettings } from '../../settings.ts'
import type { Depth, QueueRow } from '../../store.ts'
import { named, unsupported } from './errors.ts'
import { isObject } from './fields.ts'

const ACCOUNT_ID = '000000000000'
export const arnOf = (region: string, name: string) => `arn:aws:sqs:${region}:${ACCOUNT_ID}:${name}`
/** The name of the queue; null when it is no ARN of one. */
export const nameOfArn = (arn: string): string | null => /^arn:aws[a-z-]*:sqs:[a-z0-9-]*:\d{12}:([a-zA-Z0-9_-]{1,80})$/.exec(arn)?.[1] ?? null
export const urlOf = (origin: string, name: string) => `${origin}/${ACCOUNT_ID}/${name}`

const NUMBERS: Readonly<Record<string, keyof typeof RANGES>> = {
  DelaySeconds: 'delaySeconds',
  MaximumMessageSize: 'maxMessageBytes',
  MessageRetentionPeriod: 'retentionSeconds',
  ReceiveMessageWaitTimeSeconds: 'waitSeconds',
  VisibilityTimeout: 'visibilitySeconds',
}
const COUNTED = ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible', 'ApproximateNumberOfMessagesDelayed']
const KNOWN = new Set([...Object.keys(NUMBERS), ...COUNTED, 'QueueArn', 'CreatedTimestamp', 'LastModifiedTimestamp', 'RedrivePolicy', 'RedriveAllowPolicy'])
/** What AWS has and this node does not: asking for it gives nothing. */
const ELSEWHERE = new Set([
  'Policy',
  'KmsMasterKeyId',
  'KmsDataKeyReusePeriodSeconds',
  'SqsManagedSseEnabled',
  'FifoQueue',
  'ContentBasedDeduplication',
  'DeduplicationScope',
  'FifoThroughputLimit',
])

const badValue = (name: string, why: string) => named('InvalidAttributeValue', `Invalid value for the parameter ${name}. Reason: ${why}`)

/** @throws SqsError */
export function changedSettings(before: QueueSettings, attributes: Readonly<Record<string, string>>): QueueSettings {
  const after: Record<string, unknown> = { ...before }
  for (const [name, value] of Object.entries(attributes)) {
    const setting = Object.hasOwn(NUMBERS, name) ? NUMBERS[name] : undefined
    if (setting) {
      const [least, most] = RANGES[setting]
      if (!/^\d{1,9}$/.test(value) || Number(value) < least || Number(value) > most) throw badValue(name, `Must be a whole number from ${least} to ${most}.`)
      after[setting] = Number(value)
    } else if (name === 'RedrivePolicy') after.deadLetter = value === '' ? undefined : deadLetterOf(value)
    else if (name === 'RedriveAllowPolicy') after.deadLetterOf = value === '' ? undefined : allowedOf(value)
    else if (ELSEWHERE.has(name)) {
      if (value === '' || value === 'false') continue
      throw unsupported(
        name === 'FifoQueue' ? 'FIFO queues are not served: this node has standard queues.' : `The attribute ${name} is not supported by this node.`,
      )
    } else throw named('InvalidAttributeName', `Unknown Attribute ${name.slice(0, 100)}.`)
  }
  return after as QueueSettings
}

function parsed(name: string, text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (isObject(value)) return value
  } catch {
    // told below
  }
  throw badValue(name, 'It is no JSON object.')
}

function deadLetterOf(text: string): QueueSettings['deadLetter'] {
  const { deadLetterTargetArn, maxReceiveCount } = parsed('RedrivePolicy', text)
  const queue = typeof deadLetterTargetArn === 'string' ? nameOfArn(deadLetterTargetArn) : null
  if (queue === null) throw badValue('RedrivePolicy', 'deadLetterTargetArn must be the ARN of a standard queue.')
  const maxReceives = Number(maxReceiveCount)
  if (!Number.isInteger(maxReceives) || maxReceives < 1 || maxReceives > 1000) throw badValue('RedrivePolicy', 'maxReceiveCount must be 1 to 1000.')
  return { queue, maxReceives }
}

function allowedOf(text: string): QueueSettings['deadLetterOf'] {
  const { redrivePermission, sourceQueueArns } = parsed('RedriveAllowPolicy', text)
  if (redrivePermission === 'allowAll') return undefined
  if (redrivePermission === 'denyAll') return 'none'
  if (redrivePermission !== 'byQueue' || !Array.isArray(sourceQueueArns) || sourceQueueArns.length < 1 || sourceQueueArns.length > 10)
    throw badValue('RedriveAllowPolicy', 'redrivePermission must be allowAll, denyAll, or byQueue with 1 to 10 sourceQueueArns.')
  return sourceQueueArns.map((arn) => {
    const name = typeof arn === 'string' ? nameOfArn(arn) : null
    if (name === null) throw badValue('RedriveAllowPolicy', 'sourceQueueArns must be ARNs of queues.')
    return name
  })
}

/** Whether they have to be counted. @throws SqsError */
export function asksDepth(names: readonly string[]): boolean {
  for (const name of names)
    if (name !== 'All' && !KNOWN.has(name) && !ELSEWHERE.has(name)) throw named('InvalidAttributeName', `Unknown Attribute ${name.slice(0, 100)}.`)
  return names.some((name) => name === 'All' || COUNTED.includes(name))
}

export function shownAttributes(queue: QueueRow, depth: Depth | null, region: string, names: readonly string[]): Record<string, string> {
  const { settings } = queue
  const seconds = (date: Date) => String(Math.floor(date.getTime() / 1000))
  const all: Record<string, string> = {
    QueueArn: arnOf(region, queue.name),
    ApproximateNumberOfMessages: String(depth?.visible ?? 0),
    ApproximateNumberOfMessagesNotVisible: String(depth?.inFlight ?? 0),
    ApproximateNumberOfMessagesDelayed: String(depth?.delayed ?? 0),
    CreatedTimestamp: seconds(queue.createdAt),
    LastModifiedTimestamp: seconds(queue.modifiedAt),
  }
  for (const [name, setting] of Object.entries(NUMBERS)) all[name] = String(settings[setting] ?? DEFAULTS[setting])
  const { deadLetter, deadLetterOf: from } = settings
  if (deadLetter) all.RedrivePolicy = JSON.stringify({ deadLetterTargetArn: arnOf(region, deadLetter.queue), maxReceiveCount: deadLetter.maxReceives })
  if (from === 'none') all.RedriveAllowPolicy = JSON.stringify({ redrivePermission: 'denyAll' })
  else if (from) all.RedriveAllowPolicy = JSON.stringify({ redrivePermission: 'byQueue', sourceQueueArns: from.map((name) => arnOf(region, name)) })
  if (names.includes('All')) return all
  return Object.fromEntries(names.flatMap((name) => (all[name] === undefined ? [] : [[name, all[name]]])))
}
