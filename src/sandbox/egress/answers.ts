import dns from 'dns-packet'
import { isNeverReached } from '../../core/egress.ts'

/** A question of a sandbox, as far as one is told by it. */
export interface Question {
  readonly name: string
  readonly type: string
}

const MAX_CHAIN = 16
/** What fits into a packet for who says nothing of larger ones. */
const PLAIN_PACKET = 512
const sameName = (a: string, b: string) => a.toLowerCase().replace(/\.$/, '') === b.toLowerCase().replace(/\.$/, '')

/** The one question of a query; null when it is anything else, or no query at all. */
export function questionOf(packet: Buffer): Question | null {
  try {
    const { type, opcode, questions } = dns.decode(packet) as dns.DecodedPacket & { opcode?: string }
    const [question] = questions ?? []
    if (type !== 'query' || (opcode ?? 'QUERY') !== 'QUERY' || questions?.length !== 1 || !question || (question.class ?? 'IN') !== 'IN') return null
    return { name: question.name, type: question.type }
  } catch {
    return null
  }
}

/** What is answered without anybody being asked: that there is no such name, or none of that type; or that it failed. */
export function answerOf(packet: Buffer, code: 'NXDOMAIN' | 'NOERROR' | 'SERVFAIL'): Buffer {
  const codes = { NOERROR: 0, SERVFAIL: 2, NXDOMAIN: 3 }
  const query = dns.decode(packet)
  // Recursion was wanted and is there.
  const flags = dns.RECURSION_DESIRED | dns.RECURSION_AVAILABLE | codes[code]
  return Buffer.from(dns.encode({ type: 'response', id: query.id ?? 0, flags, questions: query.questions ?? [] }))
}

/** An answer that was cut to fit into one packet: it is asked for again on a connection. */
export function cut(packet: Buffer): Buffer {
  const query = dns.decode(packet)
  const flags = dns.RECURSION_DESIRED | dns.RECURSION_AVAILABLE | dns.TRUNCATED_RESPONSE
  return Buffer.from(dns.encode({ type: 'response', id: query.id ?? 0, flags, questions: query.questions ?? [] }))
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
 * Null when it is no answer to that question, or names an address that no sandbox reaches: such a name is told to nobody.
 */
export function addressesIn(answer: Buffer, question: Question): Resolved[] | null {
  let decoded: dns.DecodedPacket
  try {
    decoded = dns.decode(answer)
  } catch {
    return null
  }
  const [asked] = decoded.questions ?? []
  if (decoded.type !== 'response' || !asked || !sameName(asked.name, question.name) || asked.type !== question.type) return null
  const found: Resolved[] = []
  let names = [question.name]
  for (let step = 0; step < MAX_CHAIN && names.length > 0; step++) {
    const next: string[] = []
    for (const one of decoded.answers ?? []) {
      if (!('name' in one) || !names.some((name) => sameName(name, one.name))) continue
      if (one.type === 'A') found.push({ address: one.data, seconds: one.ttl ?? 0 })
      if (one.type === 'CNAME') next.push(one.data)
    }
    names = next
  }
  return (decoded.answers ?? []).some((one) => one.type === 'A' && isNeverReached(one.data)) ? null : found
}
