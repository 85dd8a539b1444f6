import type { IncomingHttpHeaders } from 'node:http'
import { MayflyError } from '../../core/errors.ts'
import { jsonOf } from '../../core/json-body.ts'
import { LIMITS } from '../../core/limits.ts'
import { isPlainText } from '../../core/plain-text.ts'
import { isDeeperThan } from '../../lib/event-pattern.ts'
import type { SentEvent } from './service.ts'

/*
 * The events of a request, in whichever form it brings them: our own, or CloudEvents 1.0 over HTTP in its binary,
 * structured and batched mode. The headers say which.
 */

const NAME_CHARS = 256
const RESOURCES = 100
const OWN_FIELDS = ['id', 'detail-type', 'source', 'time', 'resources', 'detail']
/** RFC 3339, with what its readers make of a space and of small letters left out. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/
const ATTRIBUTE = /^[a-z0-9]{1,64}$/
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

type Fields = Readonly<Record<string, unknown>>
type Attributes = Record<string, string | number | boolean>

/** @throws MayflyError bad_request, body_not_json: then none of them is taken */
export function sentEvents(headers: IncomingHttpHeaders, body: Buffer): readonly SentEvent[] {
  const type = mediaType(headers['content-type'])
  if (type === 'application/cloudevents+json') return [cloudEvent(objectOf(jsonOf(body), 'the event'), 'the event')]
  if (type === 'application/cloudevents-batch+json')
    return listOf(jsonOf(body), 'the body').map((one, n) => cloudEvent(objectOf(one, `events.${n}`), `events.${n}`))
  if (type.startsWith('application/cloudevents')) throw bad(`the format ${type.slice(0, 100)} of CloudEvents is not read: send them as JSON`)
  if (headers['ce-specversion'] !== undefined || headers['ce-id'] !== undefined || headers['ce-type'] !== undefined) return [binaryEvent(headers, type, body)]
  const given = objectOf(jsonOf(body), 'the body')
  if (!Object.hasOwn(given, 'events')) return [ownEvent(given, 'the event')]
  if (Object.keys(given).length > 1) throw bad('the body must be an event, or an object with the list `events` and nothing else')
  return listOf(given.events, 'events').map((one, n) => ownEvent(objectOf(one, `events.${n}`), `events.${n}`))
}

function ownEvent(given: Fields, at: string): SentEvent {
  const unknown = Object.keys(given).filter((name) => !OWN_FIELDS.includes(name))
  if (unknown.length > 0)
    throw bad(
      `${at}: unknown fields: ${unknown
        .slice(0, 5)
        .map((name) => `\`${name.slice(0, 50)}\``)
        .join(', ')}`,
    )
  const { id, time, resources = [], detail = {} } = given
  checkDepth(detail, `${at}: \`detail\``)
  if (!Array.isArray(resources) || resources.length > RESOURCES) throw bad(`${at}: \`resources\` must be a list of at most ${RESOURCES} texts`)
  return {
    id: id === undefined ? null : nameOf(id, `${at}: \`id\``),
    detailType: nameOf(given['detail-type'], `${at}: \`detail-type\``),
    source: sourceOf(given.source === undefined ? 'mayfly' : given.source, at),
    time: time === undefined ? null : timeOf(time, at),
    resources: resources.map((one: unknown) => nameOf(one, `${at}: each of \`resources\``)),
    // EventBridge takes objects alone; the data of a CloudEvent may be any JSON, and so may this.
    detail,
    cloudevent: null,
  }
}

/** The type is the detail's, the data the detail, and the subject what it is about; the rest stands beside them. */
function cloudEvent(given: Fields, at: string): SentEvent {
  const { data, data_base64: base64, ...rest } = given
  if (data !== undefined && base64 !== undefined) throw bad(`${at}: it has both \`data\` and \`data_base64\``)
  if (base64 !== undefined && (typeof base64 !== 'string' || !BASE64.test(base64))) throw bad(`${at}: \`data_base64\` must be base64`)
  const attributes: Attributes = {}
  for (const [name, value] of Object.entries(rest)) {
    if (value === null) continue
    if (!ATTRIBUTE.test(name)) throw bad(`${at}: an attribute has small letters and digits, which \`${name.slice(0, 50)}\` has not alone`)
    if (typeof value !== 'boolean' && !Number.isInteger(value) && typeof value !== 'string')
      throw bad(`${at}: the attribute \`${name}\` must be a text, a whole number, true or false`)
    if (typeof value === 'string' && (value.length > 2_048 || !isPlainText(value)))
      throw bad(`${at}: the attribute \`${name}\` must have at most 2048 characters, and none that control`)
    attributes[name] = value as string | number | boolean
  }
  return ofCloudEvent(attributes, base64 ?? data ?? null, at)
}

function binaryEvent(headers: IncomingHttpHeaders, type: string, body: Buffer): SentEvent {
  const given: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(headers)) if (name.startsWith('ce-') && value !== undefined) given[name.slice(3)] = decoded(String(value), name)
  if (Object.hasOwn(given, 'data') || Object.hasOwn(given, 'data_base64')) throw bad('the data of a CloudEvent in binary mode is the body')
  if (headers['content-type'] !== undefined) given.datacontenttype = headers['content-type']
  if (body.byteLength === 0) return cloudEvent(given, 'the event')
  if (type === 'application/json' || type.endsWith('+json')) return cloudEvent({ ...given, data: jsonOf(body) }, 'the event')
  const text = type.startsWith('text/') ? body.toString('utf8') : null
  return cloudEvent({ ...given, ...(text === null ? { data_base64: body.toString('base64') } : { data: text }) }, 'the event')
}

function ofCloudEvent(attributes: Attributes, detail: unknown, at: string): SentEvent {
  const { specversion, id, source, type, time, subject } = attributes
  if (specversion !== '1.0') throw bad(`${at}: \`specversion\` must be "1.0"`)
  checkDepth(detail, at)
  return {
    id: nameOf(id, `${at}: \`id\``),
    detailType: nameOf(type, `${at}: \`type\``),
    source: sourceOf(source, at),
    time: time === undefined ? null : timeOf(time, at),
    resources: subject === undefined ? [] : [nameOf(subject, `${at}: \`subject\``)],
    detail,
    cloudevent: attributes,
  }
}

const bad = (message: string) => new MayflyError('bad_request', message)
const mediaType = (header: string | undefined) => (header ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''

function objectOf(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(`${what} must be an object`)
  checkDepth(value, what)
  return value as Fields
}

function listOf(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > LIMITS.busEvents.value)
    throw bad(`${what} must be a list of 1 to ${LIMITS.busEvents.value} events`)
  return value
}

function checkDepth(value: unknown, what: string): void {
  if (isDeeperThan(value, LIMITS.busEventDepth.value)) throw bad(`${what} must not go deeper than ${LIMITS.busEventDepth.value}`)
}

function nameOf(value: unknown, what: string): string {
  if (typeof value !== 'string' || value === '' || value.length > NAME_CHARS || !isPlainText(value))
    throw bad(`${what} must be a text of 1 to ${NAME_CHARS} characters, none of which control`)
  return value
}

/** Who reads an event of the platform's has to know that nobody else wrote it. */
function sourceOf(value: unknown, at: string): string {
  const source = nameOf(value, `${at}: \`source\``)
  if (/^aws\./i.test(source)) throw bad(`${at}: a \`source\` that begins with "aws." is the platform's own`)
  return source
}

function timeOf(value: unknown, at: string): Date {
  const time = new Date(typeof value === 'string' && TIME.test(value) ? value : Number.NaN)
  if (Number.isNaN(time.getTime())) throw bad(`${at}: \`time\` must be such as 2026-12-24T18:00:00Z`)
  return time
}

/** A header holds what is no plain ASCII by percent. */
function decoded(value: string, name: string): string {
  try {
    return decodeURIComponent(value.replaceAll(/%(?![0-9a-fA-F]{2})/g, '%25'))
  } catch {
    throw bad(`the header ${name.slice(0, 50)} is no text of UTF-8`)
  }
}
