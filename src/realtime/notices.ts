import { LIMITS } from '../core/limits.ts'
import type { Broadcast } from './frames.ts'

/** What SQL said in a channel. */
export interface Said {
  readonly isPrivate: boolean
  readonly broadcast: Broadcast
}

const PART = /^([0-9a-f-]{36}) ([1-9]\d{0,5}) ([1-9]\d{0,5}) ([A-Za-z0-9+/=\n]+)$/
const NEWLINE = 0x0a
const UTF8 = new TextDecoder('utf-8', { fatal: true })

/**
 * Puts together what `realtime.send` tells in parts. Those of a message come in a row, as PostgreSQL tells a transaction
 * whole; anybody may notify, so that what is anything else is passed over.
 */
export class Notices {
  #open: { readonly id: string; readonly parts: number; readonly pieces: Buffer[]; bytes: number } | null = null

  /** @returns null for what is no message, or not whole yet */
  take(notice: string): Said | null {
    const [, id = '', part, parts, text = ''] = PART.exec(notice) ?? []
    if (id === '') {
      this.#open = null
      return null
    }
    if (part === '1') this.#open = { id, parts: Number(parts), pieces: [], bytes: 0 }
    const open = this.#open
    if (open === null || open.id !== id || open.parts !== Number(parts) || open.pieces.length + 1 !== Number(part)) return null
    const piece = Buffer.from(text, 'base64')
    // Nothing that is sent has such: it would be held for nothing.
    if (piece.length === 0) {
      this.#open = null
      return null
    }
    open.bytes += piece.length
    open.pieces.push(piece)
    if (open.bytes > LIMITS.realtimePayload.value) this.#open = null
    else if (open.pieces.length === open.parts) {
      this.#open = null
      return read(id, Buffer.concat(open.pieces))
    }
    return null
  }
}

function read(id: string, content: Buffer): Said | null {
  const end = content.indexOf(NEWLINE)
  if (end === -1) return null
  const payload = content.subarray(end + 1)
  try {
    const { topic, event, private: isPrivate } = JSON.parse(UTF8.decode(content.subarray(0, end))) as Readonly<Record<string, unknown>>
    // It is put into the text of others as it stands: it has to be whole.
    JSON.parse(UTF8.decode(payload))
    if (typeof topic !== 'string' || typeof event !== 'string' || typeof isPrivate !== 'boolean') return null
    return { isPrivate, broadcast: { topic: `realtime:${topic}`, event, meta: { id }, encoding: 'json', payload } }
  } catch {
    return null
  }
}
