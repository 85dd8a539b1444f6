// The keys of Azure's HTTP functions: secrets of the project, by these names.
import { Buffer } from 'node:buffer'
import { createHash, timingSafeEqual } from 'node:crypto'
import { triggerOf } from './azure-bindings.mjs'

const env = process.env

/** Whether the request has the key that a function asks for: in its header, which counts before the address. */
export function mayCall(level, ownKey, headers, url) {
  if (level === 'anonymous') return true
  const given = headers.get('x-functions-key') ?? url.searchParams.get('code') ?? ''
  // A function's own key opens that one; the app's open all of them.
  const keys = level === 'function' ? [env[ownKey], env.AZURE_FUNCTION_KEY, env.AZURE_MASTER_KEY] : [env.AZURE_MASTER_KEY]
  return keys.some((key) => isSame(given, key))
}

/** The variable that is a function's own key, by its name; where two would share one, the hash of each name keeps them apart. */
export function ownKeysOf(functions) {
  const names = functions.filter(({ metadata }) => triggerOf(metadata).type.toLowerCase() === 'httptrigger').map(({ metadata }) => metadata.name)
  const plain = (name) => `AZURE_FUNCTION_KEY_${name.toUpperCase().replaceAll(/[^A-Z0-9_]/g, '_')}`
  const shared = Map.groupBy(names, plain)
  const apart = (name) => `_${createHash('sha256').update(name).digest('hex').slice(0, 8).toUpperCase()}`
  return new Map(names.map((name) => [name, `${plain(name)}${shared.get(plain(name)).length > 1 ? apart(name) : ''}`]))
}

function isSame(given, key) {
  if (!key) return false
  const [a, b] = [Buffer.from(given), Buffer.from(key)]
  return a.length === b.length && timingSafeEqual(a, b)
}
