import type { Client } from './client.ts'

export type KeyKind = 'publishable' | 'secret'

export interface ApiKey {
  readonly id: string
  readonly kind: KeyKind
  /** Of a secret one its beginning alone. */
  readonly shown: string
  /** In clear, where that was asked for. */
  readonly key?: string
  readonly createdAt: string
  /** Null for one that goes on. */
  readonly endsAt: string | null
}

export interface MadeKey {
  readonly id: string
  readonly kind: KeyKind
  readonly key: string
}

export interface LegacyKeys {
  readonly jwtSecret: string
  readonly anonKey: string
  readonly serviceRoleKey: string
}

export interface Issuer {
  readonly issuer: string
  readonly audience: string
  readonly jwksUrl: string
}

const at = (ref: string, what: string) => `/api/v1/projects/${encodeURIComponent(ref)}/${what}`
const JSON_BODY = { 'content-type': 'application/json' }

/** @throws ApiError: the operator's token is needed, as for all of these */
export async function listKeys(client: Client, ref: string, reveal: boolean): Promise<readonly ApiKey[]> {
  return ((await (await client.request('GET', at(ref, `api-keys${reveal ? '?reveal=true' : ''}`))).json()) as { keys: ApiKey[] }).keys
}

export async function newKey(client: Client, ref: string, kind: KeyKind): Promise<MadeKey> {
  return (await (await client.request('POST', at(ref, 'api-keys'), JSON.stringify({ kind }), JSON_BODY)).json()) as MadeKey
}

/** The former ones of the kind end after so many hours. */
export async function rotateKeys(client: Client, ref: string, kind: KeyKind, overlapHours: number): Promise<MadeKey> {
  return (await (await client.request('POST', at(ref, 'api-keys/rotate'), JSON.stringify({ kind, overlapHours }), JSON_BODY)).json()) as MadeKey
}

export async function revokeKey(client: Client, ref: string, id: string): Promise<void> {
  await client.request('DELETE', at(ref, `api-keys/${encodeURIComponent(id)}`))
}

export async function legacyKeys(client: Client, ref: string): Promise<LegacyKeys> {
  return (await (await client.request('POST', at(ref, 'legacy-keys'))).json()) as LegacyKeys
}

export async function revokeLegacyKeys(client: Client, ref: string): Promise<void> {
  await client.request('DELETE', at(ref, 'legacy-keys'))
}

export async function listIssuers(client: Client, ref: string): Promise<readonly Issuer[]> {
  return ((await (await client.request('GET', at(ref, 'issuers'))).json()) as { issuers: Issuer[] }).issuers
}

/** @returns why its keys cannot be read now; null when they can */
export async function trustIssuer(client: Client, ref: string, issuer: Issuer): Promise<string | null> {
  const reply = await client.request('PUT', at(ref, 'issuers'), JSON.stringify(issuer), JSON_BODY)
  return ((await reply.json()) as { unread: string | null }).unread
}

export async function distrustIssuer(client: Client, ref: string, issuer: string): Promise<void> {
  await client.request('DELETE', at(ref, `issuers?issuer=${encodeURIComponent(issuer)}`))
}

/** What a project brings along: each may be left out, but for the secret of keys that it signed. */
export interface GivenKeys {
  readonly publishableKey?: string
  readonly secretKey?: string
  readonly jwtSecret?: string
  readonly anonKey?: string
  readonly serviceRoleKey?: string
}

/** Names by which other makers write them into a file of settings. */
const NAMES: Readonly<Record<string, keyof GivenKeys>> = {
  publishablekey: 'publishableKey',
  supabasepublishablekey: 'publishableKey',
  secretkey: 'secretKey',
  supabasesecretkey: 'secretKey',
  jwtsecret: 'jwtSecret',
  supabasejwtsecret: 'jwtSecret',
  anonkey: 'anonKey',
  supabaseanonkey: 'anonKey',
  servicerolekey: 'serviceRoleKey',
  servicekey: 'serviceRoleKey',
  supabaseservicerolekey: 'serviceRoleKey',
  supabaseservicekey: 'serviceRoleKey',
}

const FIELDS = new RegExp(`\\b(?:${[...new Set(Object.values(NAMES))].join('|')})\\b`, 'g')
const fieldOf = (name: string): keyof GivenKeys | undefined => NAMES[name.toLowerCase().replaceAll(/[_\s.-]/g, '')]

const readPairs = (text: string): readonly (readonly [string, unknown])[] =>
  /^\s*\{/.test(text)
    ? Object.entries(JSON.parse(text) as Record<string, unknown>)
    : text.split(/\r?\n/).flatMap((line) => {
        const [, name, value] = /^\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*=\s*(.*?)\s*$/.exec(line) ?? []
        return name === undefined || value === undefined ? [] : [[name, /^(["']).*\1$/.test(value) ? value.slice(1, -1) : value] as const]
      })

/** What is said of given keys, by the names that they have in the file. */
export function saidOfFile(message: string, text: string): string {
  const names = new Map(readPairs(text).flatMap(([name]) => (fieldOf(name) === undefined ? [] : [[fieldOf(name) as string, name] as const])))
  const [, said = message] = /^keys\.(.+)$/s.exec(message) ?? []
  return said.replaceAll(FIELDS, (field) => names.get(field) ?? field)
}

const PORT_NAMES: ReadonlySet<string> = new Set(['port', 'apiPort', 'API_PORT'])

/** What the same file says of the port of the API: `port` or `apiPort` of JSON, or `API_PORT`. Null when it says nothing. @throws RangeError */
export function readGivenPort(text: string): number | null {
  const [, port] = readPairs(text).findLast(([name]) => PORT_NAMES.has(name)) ?? []
  return port === undefined || port === null ? null : portOf(String(port))
}

/** @throws RangeError */
export function portOf(text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new RangeError('the port is a whole number')
  return Number(text)
}

/** Reads JSON, or lines of `NAME=value` such as the `.env` of a self-hosted Supabase or `supabase status -o env`. @throws RangeError when no key is in it */
export function readGivenKeys(text: string): GivenKeys {
  const given: { -readonly [K in keyof GivenKeys]: string } = {}
  const take = (name: string, value: unknown) => {
    const known = fieldOf(name)
    if (known && typeof value === 'string' && value !== '') given[known] = value
  }
  for (const [name, value] of readPairs(text)) take(name, value)
  if (Object.keys(given).length === 0) throw new RangeError('it names none of JWT_SECRET, ANON_KEY, SERVICE_ROLE_KEY, PUBLISHABLE_KEY and SECRET_KEY')
  return given
}
