import dns from 'dns-packet'
import { isNeverReached } from '../../core/egress.ts'

/** A question of a sandbox, as far as one is told by it. */
export interface Question {
  readonly name: string
  readonly type: string
}

const MAX_CHAIN = 16
/** An answer that has more is no use to anybody, and long names in thousands of records take as long to read as many calls. */
const MAX_RECORDS = 256
const HEADER = 12
const RESPONSE = 0x8000
const MAX_LABEL = 63
const LABEL = /^[a-zA-Z0-9_-]+$/
/** What fits into a packet for who says nothing of larger ones. */
const PLAIN_PACKET = 512
const plain = (name: string) => name.toLowerCase().replace(/\.$/, '')

/** The one question of a query; null when it is anything else, or no query at all. */
export function questionOf(packet: Buffer): Question | null {
  if (questionEnd(packet) === null) return null
  const [questionCount, answers, authorities, additionals] = countsOf(packet)
  // One that says how it wants to be answered is all that clients add.
  if (questionCount !== 1 || answers + authorities > 0 || additionals > 1) return null
  try {
    const { type, opcode, questions } = dns.decode(packet) as dns.DecodedPacket & { opcode?: string }
    const [question] = questions ?? []
    if (type !== 'query' || (opcode ?? 'QUERY') !== 'QUERY' || questions?.length !== 1 || !question || (question.class ?? 'IN') !== 'IN') return null
    return { name: question.name, type: question.type }
  } catch {
    return null
  }
}

/**
 * What is answered without anybody being asked: that there is no such name, or none of that type; that it failed; or
 * (`CUT`) that the answer does not fit into a packet, and is to be asked for on a connection.
 * @param query  one that `questionOf` took
 */
export function answerOf(query: Buffer, how: 'NXDOMAIN' | 'NOERROR' | 'SERVFAIL' | 'CUT'): Buffer {
  const codes = { NOERROR: 0, CUT: dns.TRUNCATED_RESPONSE, SERVFAIL: 2, NXDOMAIN: 3 }
  // The question as it came, and nothing else of the query.
  const answer = Buffer.from(query.subarray(0, questionEnd(query) ?? HEADER))
  answer.writeUInt16BE(RESPONSE | (query.readUInt16BE(2) & dns.RECURSION_DESIRED) | dns.RECURSION_AVAILABLE | codes[how], 2)
  for (const count of [6, 8, 10]) answer.writeUInt16BE(0, count)
  return answer
}

/** How many records of each kind a packet says it has. */
const countsOf = (packet: Buffer): [questions: number, answers: number, authorities: number, additionals: number] => [
  packet.readUInt16BE(4),
  packet.readUInt16BE(6),
  packet.readUInt16BE(8),
  packet.readUInt16BE(10),
]

/** Where the question of a query ends; null when its name is none of a host or a service. */
function questionEnd(query: Buffer): number | null {
  let at = HEADER
  for (;;) {
    const length = query[at]
    if (length === undefined || length > MAX_LABEL) return null
    if (length === 0) return at + 5 <= query.length ? at + 5 : null
    if (!LABEL.test(query.subarray(at + 1, at + 1 + length).toString('latin1'))) return null
    at += 1 + length
  }
}

/** How large a packet the asker takes, as its query says. */
export function packetSizeOf(query: Buffer): number {
  const option = dns.decode(query).additionals?.find((one) => one.type === 'OPT') as { udpPayloadSize?: number } | undefined
  return Math.max(PLAIN_PACKET, option?.udpPayloadSize ?? 0)
}

export interface Resolved {
  readonly address: string
  readonly seconds: number
}

/**
 * The addresses that an answer gives to the name that was asked for, over its aliases; what else it says is not looked at.
 * Null when it is no answer to that question, has very many records, or names an address that no sandbox reaches: such a name is
 * told to nobody.
 */
export function addressesIn(answer: Buffer, question: Question): Resolved[] | null {
  if (answer.length < HEADER || countsOf(answer).reduce((sum, count) => sum + count) > MAX_RECORDS) return null
  let decoded: dns.DecodedPacket
  try {
    decoded = dns.decode(answer)
  } catch {
    return null
  }
  const [asked] = decoded.questions ?? []
  if (decoded.type !== 'response' || !asked || plain(asked.name) !== plain(question.name) || asked.type !== question.type) return null
  // Each record and each name is looked at once: whoever answers for a name may write thousands of them.
  const of = new Map<string, { readonly found: Resolved[]; readonly aliases: string[] }>()
  for (const one of decoded.answers ?? []) {
    if (one.type === 'A' && isNeverReached(one.data)) return null
    if (one.type !== 'A' && one.type !== 'CNAME') continue
    const name = plain(one.name)
    const records = of.get(name) ?? { found: [], aliases: [] }
    of.set(name, records)
    if (one.type === 'A') records.found.push({ address: one.data, seconds: one.ttl ?? 0 })
    else records.aliases.push(plain(one.data))
  }
  const found: Resolved[] = []
  const seen = new Set<string>()
  let names = [plain(question.name)]
  for (let step = 0; step < MAX_CHAIN && names.length > 0; step++) {
    const next: string[] = []
    for (const name of names) {
      const records = seen.has(name) ? undefined : of.get(name)
      seen.add(name)
      if (records === undefined) continue
      found.push(...records.found)
      next.push(...records.aliases)
    }
    names = next
  }
  return found
}
