import { createHash } from 'node:crypto'

/** What a subscriber of row changes asked for, in its own words. */
export interface Asked {
  readonly id: number
  readonly event: '*' | 'INSERT' | 'UPDATE' | 'DELETE'
  readonly schema: string
  /** `*` for every table of the schema. */
  readonly table: string
  readonly filter: string | null
  readonly select: readonly string[] | null
  /** As it came: the client compares it with its own. */
  readonly echo: Readonly<Record<string, unknown>>
}

export interface JoinConfig {
  readonly self: boolean
  readonly ack: boolean
  readonly presenceKey: string
  readonly presence: boolean
  readonly isPrivate: boolean
  readonly changes: readonly Asked[]
  /** How long the answer waits for the database's subscription; null when it does not. */
  readonly waitMs: number | null
  /** A user's token; a key in its place means the socket's own. */
  readonly userToken: string | null
}

const EVENTS = ['*', 'INSERT', 'UPDATE', 'DELETE']
const DEFAULT_WAIT_MS = 15_000

const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
const truth = (value: unknown) => value === true || value === 'true'
const text = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null)

const numeral = (value: unknown) => (typeof value === 'number' || typeof value === 'string' ? value : null)

/** A token that is not the socket's own key. */
export const userTokenOf = (value: unknown): string | null => (typeof value === 'string' && value !== '' && !value.startsWith('sb_') ? value : null)

/** Reads the payload of a join. What it does not understand is as if it had not been said, as clients expect. */
export function readJoin(payload: unknown): JoinConfig {
  const { config: given, access_token, user_token } = record(payload)
  const config = record(given)
  const broadcast = record(config.broadcast)
  const presence = record(config.presence)
  const options = record(config.postgres_changes_options)
  const timeout = Number(numeral(options.timeout) ?? DEFAULT_WAIT_MS)
  return {
    self: truth(broadcast.self),
    ack: truth(broadcast.ack),
    presenceKey: text(presence.key) ?? '',
    presence: truth(presence.enabled),
    isPrivate: truth(config.private),
    changes: Array.isArray(config.postgres_changes) ? config.postgres_changes.map(readAsked) : [],
    waitMs: truth(options.wait) ? Math.min(Math.max(Number.isFinite(timeout) ? timeout : DEFAULT_WAIT_MS, 0), DEFAULT_WAIT_MS) : null,
    userToken: userTokenOf(access_token) ?? userTokenOf(user_token),
  }
}

function readAsked(value: unknown): Asked {
  const echo = record(value)
  const event = (text(echo.event) ?? '*').toUpperCase()
  const select = Array.isArray(echo.select) ? echo.select.filter((one) => typeof one === 'string') : null
  const asked = {
    event: (EVENTS.includes(event) ? event : '*') as Asked['event'],
    schema: text(echo.schema) ?? 'public',
    table: text(echo.table) ?? '*',
    filter: text(echo.filter),
    select,
  }
  return { ...asked, id: idOf(asked), echo }
}

/** Equal parameters have equal ids, on every join and every node; never 0, which clients take for none. */
function idOf(asked: object): number {
  const hash = createHash('sha256').update(JSON.stringify(asked)).digest()
  return hash.readUInt32BE(0) >>> 5 || 1
}
