import { MayflyError } from '../../../core/errors.ts'
import { LIMITS } from '../../../core/limits.ts'
import type { ProjectRef } from '../../../core/project.ts'
import { withDepth } from '../../lineage.ts'
import type { Message, QueueInfo, Queues } from '../../service.ts'
import { DEFAULTS } from '../../settings.ts'
import { arnOf, asksDepth, changedSettings, nameOfArn, shownAttributes, urlOf } from './attributes.ts'
import { checkBody, chosen, md5, md5OfAttributes, type MessageAttributes, messageAttributesOf, sizeOf } from './contents.ts'
import { asSqsError, invalidValue, missing, named, noQueue, sqs, unsupported } from './errors.ts'
import { isObject, type Json, namesOf, textOf, textsOf, wholeOf } from './fields.ts'

export interface Call {
  readonly queues: Queues
  readonly project: ProjectRef
  readonly region: string
  readonly origin: string
  /** The id of the key, or the name of the function, that sends. */
  readonly sender: string
  /** How many functions stand before it. */
  readonly depth: number
  readonly signal: AbortSignal
}

type Operation = (call: Call, input: Json) => Promise<Json | null>

const BATCH = 10
const PAGE = 1000

/** By the last part of its address, wherever that points. @throws SqsError */
function queueOf(call: Call, input: Json): QueueInfo {
  const name = textOf(input, 'QueueUrl').split('/').at(-1) ?? ''
  const found = call.queues.find(call.project, name)
  if (!found) throw noQueue()
  return found
}

/** @throws SqsError */
function byArn(call: Call, arn: string, parameter: string): QueueInfo {
  const name = nameOfArn(arn)
  if (name === null) throw invalidValue(`Value for parameter ${parameter} is invalid. Reason: It is no ARN of a queue.`)
  const found = call.queues.find(call.project, name)
  if (!found) throw new MayflyError('move_not_found', `The resource that you specified for the ${parameter} parameter doesn't exist.`)
  return found
}

const createQueue: Operation = async (call, input) => {
  const name = textOf(input, 'QueueName')
  if (name.endsWith('.fifo')) throw unsupported('FIFO queues are not served: this node has standard queues.')
  if (!/^[a-zA-Z0-9_-]{1,80}$/.test(name)) throw invalidValue('Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.')
  const tags = tagsOf(input.tags === undefined ? input : { Tags: input.tags })
  await call.queues.create(call.project, name, changedSettings({}, textsOf(input, 'Attributes')), tags)
  return { QueueUrl: urlOf(call.origin, name) }
}

const getQueueUrl: Operation = async (call, input) => {
  const found = call.queues.find(call.project, textOf(input, 'QueueName'))
  if (!found) throw noQueue()
  return { QueueUrl: urlOf(call.origin, found.name) }
}

/** A page in the order of names. */
function page(call: Call, input: Json, all: readonly QueueInfo[]): { urls: string[]; next: Json } {
  const asked = wholeOf(input, 'MaxResults', 1, PAGE)
  const token = input.NextToken
  const after = typeof token === 'string' ? Buffer.from(token, 'base64url').toString() : ''
  const left = all.filter(({ name }) => name > after)
  const shown = left.slice(0, asked ?? PAGE)
  // Without MaxResults there is no token, as on AWS.
  const next = asked !== undefined && left.length > shown.length ? { NextToken: Buffer.from(shown.at(-1)?.name ?? '').toString('base64url') } : {}
  return { urls: shown.map(({ name }) => urlOf(call.origin, name)), next }
}

const listQueues: Operation = async (call, input) => {
  const prefix = input.QueueNamePrefix === undefined ? '' : textOf(input, 'QueueNamePrefix')
  const all = call.queues.list(call.project).filter(({ name }) => name.startsWith(prefix))
  const { urls, next } = page(call, input, all)
  return { ...(urls.length > 0 ? { QueueUrls: urls } : {}), ...next }
}

const listDeadLetterSourceQueues: Operation = async (call, input) => {
  const { urls, next } = page(call, input, call.queues.sourcesOf(queueOf(call, input)))
  return { queueUrls: urls, ...next }
}

const deleteQueue: Operation = async (call, input) => {
  await call.queues.remove(queueOf(call, input))
  return null
}

const purgeQueue: Operation = async (call, input) => {
  await call.queues.purge(queueOf(call, input))
  return null
}

const getQueueAttributes: Operation = async (call, input) => {
  const queue = queueOf(call, input)
  const names = namesOf(input, 'AttributeNames')
  const depth = asksDepth(names) ? await call.queues.depth(queue) : null
  const Attributes = shownAttributes(queue, depth, call.region, names)
  return Object.keys(Attributes).length === 0 ? {} : { Attributes }
}

const setQueueAttributes: Operation = async (call, input) => {
  const queue = queueOf(call, input)
  const attributes = textsOf(input, 'Attributes')
  if (Object.keys(attributes).length === 0) throw missing('Attributes')
  await call.queues.change(queue, changedSettings(queue.settings, attributes))
  return null
}

const MOST_TAGS = 50

function tagsOf(input: Json): Readonly<Record<string, string>> {
  const tags = textsOf(input, 'Tags')
  for (const [key, value] of Object.entries(tags))
    if (key.length < 1 || key.length > 128 || value.length > 256 || /\0/.test(key + value))
      throw invalidValue('A tag has a key of 1 to 128 characters and a value of up to 256.')
  return tags
}

const tagQueue: Operation = async (call, input) => {
  const queue = queueOf(call, input)
  const tags = { ...queue.tags, ...tagsOf(input) }
  if (Object.keys(tags).length > MOST_TAGS) throw invalidValue(`A queue has at most ${MOST_TAGS} tags.`)
  await call.queues.change(queue, queue.settings, tags)
  return null
}

const untagQueue: Operation = async (call, input) => {
  const queue = queueOf(call, input)
  const keys = new Set(namesOf(input, 'TagKeys'))
  await call.queues.change(queue, queue.settings, Object.fromEntries(Object.entries(queue.tags).filter(([key]) => !keys.has(key))))
  return null
}

const listQueueTags: Operation = async (call, input) => {
  const { tags } = queueOf(call, input)
  return Object.keys(tags).length === 0 ? {} : { Tags: tags }
}

interface Sent {
  readonly body: string
  readonly attributes: MessageAttributes | null
  readonly traceHeader: string | null
  readonly delaySeconds: number | undefined
  readonly bytes: number
}

function readMessage(queue: QueueInfo, input: Json): Sent {
  const body = textOf(input, 'MessageBody')
  checkBody(body)
  const attributes = messageAttributesOf(input)
  if (input.MessageDeduplicationId !== undefined)
    throw invalidValue('The request include parameter that is not valid for this queue type: MessageDeduplicationId.')
  const { AWSTraceHeader: trace, ...others } = isObject(input.MessageSystemAttributes) ? input.MessageSystemAttributes : {}
  if (Object.keys(others).length > 0) throw invalidValue('The only message system attribute is AWSTraceHeader.')
  const traceHeader = isObject(trace) && typeof trace.StringValue === 'string' ? trace.StringValue.slice(0, 1000).replaceAll('\0', '') : null
  const delaySeconds = wholeOf(input, 'DelaySeconds', 0, 900)
  const bytes = sizeOf(body, attributes)
  const most = queue.settings.maxMessageBytes ?? DEFAULTS.maxMessageBytes
  if (bytes > most) throw invalidValue(`One or more parameters are invalid. Reason: Message must be shorter than ${most} bytes.`)
  return { body, attributes, traceHeader, delaySeconds, bytes }
}

const outgoing = (call: Call, one: Sent) => ({
  ...one,
  attributes: one.attributes && JSON.stringify(one.attributes),
  traceHeader: withDepth(one.traceHeader, call.depth),
  sender: call.sender,
})

const sentReply = (id: string, { body, attributes }: Sent) => ({
  MessageId: id,
  MD5OfMessageBody: md5(body),
  ...(attributes ? { MD5OfMessageAttributes: md5OfAttributes(attributes) } : {}),
})

const sendMessage: Operation = async (call, input) => {
  const queue = queueOf(call, input)
  const read = readMessage(queue, input)
  const [id = ''] = await call.queues.send(queue, [outgoing(call, read)])
  return sentReply(id, read)
}

/** @throws SqsError */
function entriesOf(input: Json): readonly (Json & { readonly Id: string })[] {
  const entries = input.Entries ?? []
  if (!Array.isArray(entries) || entries.some((one) => !isObject(one))) throw invalidValue('Entries must be a list.')
  if (entries.length === 0) throw sqs('EmptyBatchRequest', 'There should be at least one entry in the request.')
  if (entries.length > BATCH) throw sqs('TooManyEntriesInBatchRequest', `Maximum number of entries per request are ${BATCH}. You have sent ${entries.length}.`)
  const ids = entries.map((one: Json) => textOf(one, 'Id'))
  if (ids.some((id) => !/^[\w-]{1,80}$/.test(id)))
    throw sqs('InvalidBatchEntryId', 'A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.')
  if (new Set(ids).size < ids.length) throw sqs('BatchEntryIdsNotDistinct', `Id ${ids.find((id, n) => ids.indexOf(id) !== n)} repeated.`)
  return entries
}

const failed = (Id: string, error: unknown) => {
  const known = asSqsError(error)
  return { Id, SenderFault: known.status < 500, Code: known.code, Message: known.message }
}

const sendMessageBatch: Operation = async (call, input) => {
  const queue = queueOf(call, input)
  const good: { Id: string; read: Sent }[] = []
  const Failed: Json[] = []
  for (const entry of entriesOf(input)) {
    try {
      good.push({ Id: entry.Id, read: readMessage(queue, entry) })
    } catch (error) {
      Failed.push(failed(entry.Id, error))
    }
  }
  if (good.reduce((sum, { read }) => sum + read.bytes, 0) > LIMITS.queueMessage.value)
    throw sqs('BatchRequestTooLong', `Batch requests cannot be longer than ${LIMITS.queueMessage.value} bytes.`)
  const ids =
    good.length === 0
      ? []
      : await call.queues.send(
          queue,
          good.map(({ read }) => outgoing(call, read)),
        )
  return { Successful: good.map(({ Id, read }, n) => ({ Id, ...sentReply(ids[n] ?? '', read) })), Failed }
}

const SYSTEM = ['ApproximateFirstReceiveTimestamp', 'ApproximateReceiveCount', 'AWSTraceHeader', 'DeadLetterQueueSourceArn', 'SenderId', 'SentTimestamp']
/** Of queues that this node has not. */
const NEVER = ['MessageDeduplicationId', 'MessageGroupId', 'SequenceNumber']

export function systemAttributes(message: Message, region: string): Record<string, string> {
  const { traceHeader, source } = message
  return {
    ApproximateReceiveCount: String(message.receiveCount),
    SentTimestamp: String(message.sentAt.getTime()),
    SenderId: message.sender,
    ApproximateFirstReceiveTimestamp: String(message.firstReceivedAt.getTime()),
    ...(traceHeader === null ? {} : { AWSTraceHeader: traceHeader }),
    ...(source === null ? {} : { DeadLetterQueueSourceArn: arnOf(region, source) }),
  }
}

const receiveMessage: Operation = async (call, input) => {
  const queue = queueOf(call, input)
  const most = wholeOf(input, 'MaxNumberOfMessages', 1, BATCH) ?? 1
  const visibilitySeconds = wholeOf(input, 'VisibilityTimeout', 0, 43_200)
  const wait = wholeOf(input, 'WaitTimeSeconds', 0, 20) ?? queue.settings.waitSeconds ?? DEFAULTS.waitSeconds
  const names = [...namesOf(input, 'AttributeNames'), ...namesOf(input, 'MessageSystemAttributeNames')]
  for (const name of names)
    if (name !== 'All' && !SYSTEM.includes(name) && !NEVER.includes(name)) throw named('InvalidAttributeName', `Unknown Attribute ${name.slice(0, 100)}.`)
  const attributeNames = namesOf(input, 'MessageAttributeNames')
  const messages = await call.queues.receive(queue, { most, visibilitySeconds, waitMs: wait * 1000 }, call.signal)
  if (messages.length === 0) return {}
  return {
    Messages: messages.map((message) => {
      const system = Object.entries(systemAttributes(message, call.region)).filter(([name]) => names.includes('All') || names.includes(name))
      const own = message.attributes === null ? null : chosen(JSON.parse(message.attributes) as MessageAttributes, attributeNames)
      return {
        MessageId: message.id,
        ReceiptHandle: message.receipt,
        MD5OfBody: md5(message.body),
        Body: message.body,
        ...(system.length > 0 ? { Attributes: Object.fromEntries(system) } : {}),
        ...(own ? { MD5OfMessageAttributes: md5OfAttributes(own), MessageAttributes: own } : {}),
      }
    }),
  }
}

const deleteMessage: Operation = async (call, input) => {
  await call.queues.done(queueOf(call, input), textOf(input, 'ReceiptHandle'))
  return null
}

/** Each by itself: one that fails says so in its entry. */
async function each(input: Json, work: (entry: Json) => Promise<void>): Promise<Json> {
  const Successful: Json[] = []
  const Failed: Json[] = []
  const entries = entriesOf(input)
  const ends = await Promise.allSettled(entries.map((entry) => work(entry)))
  for (const [n, end] of ends.entries()) {
    const Id = entries[n]?.Id ?? ''
    if (end.status === 'fulfilled') Successful.push({ Id })
    else Failed.push(failed(Id, end.reason))
  }
  return { Successful, Failed }
}

const deleteMessageBatch: Operation = async (call, input) => {
  const queue = queueOf(call, input)
  return await each(input, async (entry) => await call.queues.done(queue, textOf(entry, 'ReceiptHandle')))
}

async function hide(call: Call, queue: QueueInfo, input: Json): Promise<void> {
  const receipt = textOf(input, 'ReceiptHandle')
  const seconds = wholeOf(input, 'VisibilityTimeout', 0, 43_200)
  if (seconds === undefined) throw missing('VisibilityTimeout')
  await call.queues.hide(queue, receipt, seconds)
}

const changeMessageVisibility: Operation = async (call, input) => {
  await hide(call, queueOf(call, input), input)
  return null
}

const changeMessageVisibilityBatch: Operation = async (call, input) => {
  const queue = queueOf(call, input)
  return await each(input, async (entry) => await hide(call, queue, entry))
}

const startMessageMoveTask: Operation = async (call, input) => {
  const source = byArn(call, textOf(input, 'SourceArn'), 'SourceArn')
  const target = input.DestinationArn === undefined ? null : byArn(call, textOf(input, 'DestinationArn'), 'DestinationArn')
  const perSecond = wholeOf(input, 'MaxNumberOfMessagesPerSecond', 1, 500) ?? null
  if (call.queues.sourcesOf(source).length === 0) throw invalidValue('Source queue must be configured as a Dead Letter Queue.')
  if (target?.id === source.id) throw invalidValue('Source queue and destination queue must differ.')
  return { TaskHandle: await call.queues.moves.begin(source, target, perSecond) }
}

const cancelMessageMoveTask: Operation = async (call, input) => {
  const id = textOf(input, 'TaskHandle')
  const move = /^[0-9a-f-]{36}$/.test(id) ? await call.queues.moves.find(id) : null
  const source = move && call.queues.byId(move.sourceId)
  const cancelled = source?.project === call.project ? await call.queues.moves.cancel(id) : null
  if (!cancelled) throw new MayflyError('move_not_found', 'There is no active message movement task by this handle.')
  return { ApproximateNumberOfMessagesMoved: cancelled.moved }
}

const listMessageMoveTasks: Operation = async (call, input) => {
  const source = byArn(call, textOf(input, 'SourceArn'), 'SourceArn')
  const most = wholeOf(input, 'MaxResults', 1, 10) ?? 1
  const moves = await call.queues.moves.of(source)
  const arn = (id: string | null) => (id === null ? undefined : arnOf(call.region, call.queues.byId(id)?.name ?? ''))
  return {
    Results: moves.slice(0, most).map((move) => ({
      ...(move.state === 'RUNNING' ? { TaskHandle: move.id } : {}),
      Status: move.state,
      SourceArn: arn(move.sourceId),
      ...(move.targetId === null ? {} : { DestinationArn: arn(move.targetId) }),
      ...(move.perSecond === null ? {} : { MaxNumberOfMessagesPerSecond: move.perSecond }),
      ApproximateNumberOfMessagesMoved: move.moved,
      ApproximateNumberOfMessagesToMove: move.total,
      ...(move.failure === null ? {} : { FailureReason: move.failure }),
      StartedTimestamp: move.startedAt.getTime(),
    })),
  }
}

const noPermissions: Operation = async () => {
  throw unsupported('Policies of queues are not supported: an access key of the project may use all of its queues.')
}

/** Every operation of the service. */
export const OPERATIONS: ReadonlyMap<string, Operation> = new Map([
  ['AddPermission', noPermissions],
  ['RemovePermission', noPermissions],
  ['CreateQueue', createQueue],
  ['GetQueueUrl', getQueueUrl],
  ['ListQueues', listQueues],
  ['ListDeadLetterSourceQueues', listDeadLetterSourceQueues],
  ['DeleteQueue', deleteQueue],
  ['PurgeQueue', purgeQueue],
  ['GetQueueAttributes', getQueueAttributes],
  ['SetQueueAttributes', setQueueAttributes],
  ['TagQueue', tagQueue],
  ['UntagQueue', untagQueue],
  ['ListQueueTags', listQueueTags],
  ['SendMessage', sendMessage],
  ['SendMessageBatch', sendMessageBatch],
  ['ReceiveMessage', receiveMessage],
  ['DeleteMessage', deleteMessage],
  ['DeleteMessageBatch', deleteMessageBatch],
  ['ChangeMessageVisibility', changeMessageVisibility],
  ['ChangeMessageVisibilityBatch', changeMessageVisibilityBatch],
  ['StartMessageMoveTask', startMessageMoveTask],
  ['CancelMessageMoveTask', cancelMessageMoveTask],
  ['ListMessageMoveTasks', listMessageMoveTasks],
])
