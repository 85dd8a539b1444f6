import { invalidValue } from './errors.ts'
import type { Json } from './fields.ts'

/** The older protocol of SQS: a form with numbered names comes in, XML goes out. */

const NAMESPACE = 'http://queue.amazonaws.com/doc/2012-11-05/'
const MOST_FIELDS = 2_000
const DEEPEST = 8

type Tree = Map<string, Tree | string>

/** Lists and maps of the form, and what JSON calls them. */
const PLURALS: Readonly<Record<string, readonly [name: string, of: 'list' | 'entries' | readonly [key: string, value: string]]>> = {
  AttributeName: ['AttributeNames', 'list'],
  MessageAttributeName: ['MessageAttributeNames', 'list'],
  MessageSystemAttributeName: ['MessageSystemAttributeNames', 'list'],
  TagKey: ['TagKeys', 'list'],
  Attribute: ['Attributes', ['Name', 'Value']],
  Tag: ['Tags', ['Key', 'Value']],
  MessageAttribute: ['MessageAttributes', ['Name', 'Value']],
  MessageSystemAttribute: ['MessageSystemAttributes', ['Name', 'Value']],
  SendMessageBatchRequestEntry: ['Entries', 'entries'],
  DeleteMessageBatchRequestEntry: ['Entries', 'entries'],
  ChangeMessageVisibilityBatchRequestEntry: ['Entries', 'entries'],
}

/** @throws SqsError */
export function readForm(text: string): { action: string; input: Json } {
  const root: Tree = new Map()
  let fields = 0
  for (const [name, value] of new URLSearchParams(text)) {
    if (++fields > MOST_FIELDS) throw invalidValue('The request has too many parameters.')
    const parts = name.split('.')
    if (parts.length > DEEPEST) throw invalidValue('The request has a parameter that is none.')
    let at = root
    for (const part of parts.slice(0, -1)) {
      const next = at.get(part)
      if (next instanceof Map) at = next
      else {
        const made: Tree = new Map()
        at.set(part, made)
        at = made
      }
    }
    at.set(parts.at(-1) ?? '', value)
  }
  const action = root.get('Action')
  return { action: typeof action === 'string' ? action : '', input: inputOf(root) }
}

const inOrder = (tree: Tree) => [...tree].toSorted(([a], [b]) => Number(a) - Number(b)).map(([, value]) => value)

function inputOf(tree: Tree): Json {
  const input: Record<string, unknown> = Object.create(null)
  for (const [name, value] of tree) {
    const plural = Object.hasOwn(PLURALS, name) ? PLURALS[name] : undefined
    if (typeof value === 'string') input[name] = value
    else if (plural === undefined) input[name] = inputOf(value)
    else if (plural[1] === 'list') input[plural[0]] = inOrder(value)
    else if (plural[1] === 'entries') input[plural[0]] = inOrder(value).map((one) => (one instanceof Map ? inputOf(one) : one))
    else {
      const map: Record<string, unknown> = Object.create(null)
      for (const one of inOrder(value)) {
        if (!(one instanceof Map)) throw invalidValue(`The parameter ${name} is none.`)
        const key = one.get(plural[1][0])
        const held = one.get(plural[1][1])
        if (typeof key === 'string') map[key] = held instanceof Map ? inputOf(held) : held
      }
      input[plural[0]] = map
    }
  }
  return input
}

const escaped = (text: string) => text.replace(/[&<>"\r]/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[char] ?? '&#xD;')
const element = (name: string, inner: string) => `<${name}>${inner}</${name}>`

const ITEMS: Readonly<Record<string, string>> = {
  QueueUrls: 'QueueUrl',
  queueUrls: 'QueueUrl',
  Messages: 'Message',
  Results: 'Result',
  Failed: 'BatchResultErrorEntry',
}
const MAPS: Readonly<Record<string, readonly [item: string, key: string]>> = {
  Attributes: ['Attribute', 'Name'],
  MessageAttributes: ['MessageAttribute', 'Name'],
  Tags: ['Tag', 'Key'],
}

function xmlOf(value: unknown, operation: string): string {
  if (typeof value !== 'object' || value === null) return escaped(String(value))
  return Object.entries(value)
    .map(([name, one]) => {
      if (one === undefined || one === null) return ''
      if (Array.isArray(one)) {
        const item = name === 'Successful' ? `${operation}ResultEntry` : (ITEMS[name] ?? name)
        return one.map((each) => element(item, xmlOf(each, operation))).join('')
      }
      const map = MAPS[name]
      if (!map) return element(name, xmlOf(one, operation))
      return Object.entries(one as object)
        .map(([key, held]) => element(map[0], element(map[1], escaped(key)) + element('Value', xmlOf(held, operation))))
        .join('')
    })
    .join('')
}

const metadata = (id: string) => element('ResponseMetadata', element('RequestId', id))

export const xmlReply = (operation: string, output: unknown, id: string): string =>
  `<?xml version="1.0"?><${operation}Response xmlns="${NAMESPACE}">${output === null ? '' : element(`${operation}Result`, xmlOf(output, operation))}${metadata(id)}</${operation}Response>`

export const xmlError = (code: string, message: string, status: number, id: string): string =>
  `<?xml version="1.0"?><ErrorResponse xmlns="${NAMESPACE}">${element('Error', element('Type', status >= 500 ? 'Receiver' : 'Sender') + element('Code', code) + element('Message', escaped(message)) + '<Detail/>')}${element('RequestId', id)}</ErrorResponse>`
