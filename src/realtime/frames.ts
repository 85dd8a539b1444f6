/** The two forms of Phoenix channels that clients speak. */
export type Version = '1.0.0' | '2.0.0'

/** What travels on a socket, but for broadcasts in their binary form. */
export interface Message {
  readonly joinRef: string | null
  readonly ref: string | null
  readonly topic: string
  readonly event: string
  readonly payload: unknown
}

/** How the payload of a broadcast is to be read. */
export type Encoding = 'binary' | 'json'

/** A broadcast as 2.0.0 pushes it: its payload is bytes and is never parsed here. */
export interface Push {
  readonly joinRef: string | null
  readonly ref: string | null
  readonly topic: string
  readonly event: string
  readonly encoding: Encoding
  readonly payload: Buffer
}

/** A broadcast on its way to subscribers. */
export interface Broadcast {
  readonly topic: string
  readonly event: string
  /** Null for none. */
  readonly meta: Readonly<Record<string, unknown>> | null
  readonly encoding: Encoding
  readonly payload: Buffer
}

const KIND = { push: 3, broadcast: 4 } as const
const ENCODINGS: readonly Encoding[] = ['binary', 'json']
const ONE_BYTE = 255

const textOrNull = (value: unknown): string | null | undefined => (value === undefined || value === null ? null : typeof value === 'string' ? value : undefined)

/** @returns null for what is no frame of this form */
export function decodeText(version: Version, text: string): Message | null {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof parsed !== 'object' || parsed === null) return null
  let parts: readonly unknown[]
  if (version === '2.0.0') {
    if (!Array.isArray(parsed) || parsed.length !== 5) return null
    parts = parsed
  } else {
    if (Array.isArray(parsed)) return null
    const named = parsed as Record<string, unknown>
    parts = [named.join_ref, named.ref, named.topic, named.event, named.payload]
  }
  const [joinRef, ref] = [textOrNull(parts[0]), textOrNull(parts[1])]
  const [, , topic, event, payload] = parts
  if (joinRef === undefined || ref === undefined || typeof topic !== 'string' || typeof event !== 'string') return null
  return { joinRef, ref, topic, event, payload: payload ?? {} }
}

export function encodeText(version: Version, { joinRef, ref, topic, event, payload }: Message): string {
  return version === '2.0.0' ? JSON.stringify([joinRef, ref, topic, event, payload]) : JSON.stringify({ topic, event, payload, ref, join_ref: joinRef })
}

/** @returns null for what is no push: another kind, or lengths that lead past its end */
export function decodePush(frame: Buffer): Push | null {
  const HEAD = 7
  if (frame.length < HEAD || frame[0] !== KIND.push) return null
  const encoding = ENCODINGS[frame[6] as number]
  if (encoding === undefined) return null
  let at = HEAD
  const fields: string[] = []
  for (let index = 1; index <= 5; index++) {
    const end = at + (frame[index] as number)
    if (end > frame.length) return null
    fields.push(frame.toString('utf8', at, end))
    at = end
  }
  const [joinRef = '', ref = '', topic = '', event = ''] = fields
  return { joinRef: joinRef || null, ref: ref || null, topic, event, encoding, payload: frame.subarray(at) }
}

/** @returns null when a field is longer than its length byte can say */
export function encodeBroadcast({ topic, event, meta, encoding, payload }: Broadcast): Buffer | null {
  const fields = [topic, event, meta === null ? '' : JSON.stringify(meta)].map((text) => Buffer.from(text))
  if (fields.some((field) => field.length > ONE_BYTE)) return null
  const head = Buffer.from([KIND.broadcast, ...fields.map((field) => field.length), ENCODINGS.indexOf(encoding)])
  return Buffer.concat([head, ...fields, payload])
}

/** The same in text; null for bytes, which no text form carries. */
export function broadcastAsText(version: Version, broadcast: Broadcast): string | null {
  const { topic, event, meta, encoding, payload } = broadcast
  if (encoding !== 'json') return null
  // The payload is put in as it came: it was parsed once, where it entered.
  const body = `{"type":"broadcast","event":${JSON.stringify(event)},"payload":${payload.toString()}${meta === null ? '' : `,"meta":${JSON.stringify(meta)}`}}`
  return version === '2.0.0'
    ? `[null,null,${JSON.stringify(topic)},"broadcast",${body}]`
    : `{"topic":${JSON.stringify(topic)},"event":"broadcast","payload":${body},"ref":null,"join_ref":null}`
}
