import { DataError } from '../errors.ts'

/** What `Prefer` says, as far as it is known here. */
export interface Preferences {
  readonly resolution: 'merge-duplicates' | 'ignore-duplicates' | null
  readonly missing: 'default' | 'null' | null
  readonly return: 'minimal' | 'headers-only' | 'representation' | null
  readonly count: 'exact' | 'planned' | 'estimated' | null
  readonly tx: 'commit' | 'rollback' | null
  readonly handling: 'strict' | 'lenient' | null
  readonly timezone: string | null
  readonly maxAffected: number | null
}

const NONE: Preferences = { resolution: null, missing: null, return: null, count: null, tx: null, handling: null, timezone: null, maxAffected: null }

const VALUES = {
  resolution: ['merge-duplicates', 'ignore-duplicates'],
  missing: ['default', 'null'],
  return: ['minimal', 'headers-only', 'representation'],
  count: ['exact', 'planned', 'estimated'],
  tx: ['commit', 'rollback'],
  handling: ['strict', 'lenient'],
} as const

/** Whether there is such a time zone; others are left aside, as unknown preferences are. */
function isZone(name: string): boolean {
  // An offset is none: its sign means one thing here and another in PostgreSQL.
  if (!/^[A-Za-z]/.test(name)) return false
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== ''
  } catch {
    return false
  }
}

/**
 * A list with commas; of each kind the first counts.
 * @throws DataError PGRST122 where unknown ones are to be refused
 */
export function parsePreferences(header: string | undefined): Preferences {
  if (header === undefined) return NONE
  const said = new Map<string, string>()
  const unknown: string[] = []
  for (const part of (header ?? '').split(',')) {
    const token = part.trim()
    if (token === '') continue
    const mark = token.indexOf('=')
    const name = mark === -1 ? token : token.slice(0, mark)
    const value = mark === -1 ? '' : token.slice(mark + 1)
    const isKnown =
      (Object.hasOwn(VALUES, name) && (VALUES[name as keyof typeof VALUES] as readonly string[]).includes(value)) ||
      (name === 'timezone' && isZone(value)) ||
      (name === 'max-affected' && /^\d{1,9}$/.test(value))
    if (!isKnown) unknown.push(token)
    else if (!said.has(name)) said.set(name, value)
  }
  const of = <T>(name: string) => (said.get(name) ?? null) as T | null
  const handling = of<Preferences['handling']>('handling')
  if (handling === 'strict' && unknown.length > 0)
    throw new DataError('PGRST122', 'Invalid preferences given with handling=strict', { details: `Invalid preferences: ${unknown.join(', ')}` })
  const maxAffected = said.get('max-affected')
  return {
    resolution: of('resolution'),
    missing: of('missing'),
    return: of('return'),
    count: of('count'),
    tx: of('tx'),
    handling,
    timezone: of('timezone'),
    maxAffected: maxAffected !== undefined && handling === 'strict' ? Number(maxAffected) : null,
  }
}
