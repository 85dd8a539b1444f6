// Other clouds' functions: who loads which. An adapter is loaded by those who need it, as it needs Node's own HTTP.
import { loadAzure } from './azure.mjs'
import { loadGoogle } from './google.mjs'

const ADAPTERS = { google: loadGoogle, azure: loadAzure }

/** @returns a handler, as `load` does @throws what the user's own code throws while it loads */
export function adapterFor(framework) {
  const adapter = Object.hasOwn(ADAPTERS, framework) ? ADAPTERS[framework] : null
  if (adapter === null) throw new Error(`this runtime has no adapter for ${framework}`)
  return adapter
}
