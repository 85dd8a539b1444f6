// The keys of Azure's HTTP functions: secrets of the project, by these names.
import { Buffer } from 'node:buffer'
import { timingSafeEqual } from 'node:crypto'

const env = process.env

/** Whether the request has the key that a function asks for: in its header, which counts before the address. */
export function mayCall(level, name, headers, url) {
  if (level === 'anonymous') return true
  const given = headers.get('x-functions-key') ?? url.searchParams.get('code') ?? ''
  // A function's own key opens that one; the app's open all of them.
  const keys = level === 'function' ? [env[ownKeyOf(name)], env.AZURE_FUNCTION_KEY, env.AZURE_MASTER_KEY] : [env.AZURE_MASTER_KEY]
  return keys.some((key) => isSame(given, key))
}

const ownKeyOf = (name) => `AZURE_FUNCTION_KEY_${name.toUpperCase().replaceAll(/[^A-Z0-9_]/g, '_')}`

function isSame(given, key) {
  if (!key) return false
  const [a, b] = [Buffer.from(given), Buffer.from(key)]
  return a.length === b.length && timingSafeEqual(a, b)
}
