// What an Azure app registers, told at a deploy.
import { settled, triggerOf } from './azure-bindings.mjs'
import { routerOf } from './azure-http.mjs'

const SERVED_IN = new Set(['blob'])
const SERVED_OUT = new Set(['blob', 'http'])
const KNOWN = new Set(['httptrigger', 'timertrigger', 'blobtrigger', 'queuetrigger', 'servicebustrigger', 'eventgridtrigger', 'cosmosdbtrigger'])
/** What stands in the settings of a binding and not in what people wrote of it. */
const OWN = new Set(['name', 'direction', 'type', 'properties'])

export function describeFunctions(functions, host) {
  // A route that cannot be served is told now rather than at the first call.
  routerOf(functions, host)
  const warnings = []
  const described = functions.map(({ metadata: { name, bindings, retryOptions } }) => {
    const trigger = triggerOf({ bindings })
    const kind = trigger.type.toLowerCase()
    for (const { type, direction } of Object.values(bindings)) {
      const served = direction === 'out' ? SERVED_OUT : SERVED_IN
      if (type !== trigger.type && !served.has(type.toLowerCase()))
        warnings.push(`${name}: the ${direction === 'out' ? 'output' : 'input'} "${type}" is not served: calls that use it fail.`)
    }
    if (!KNOWN.has(kind)) warnings.push(`${name}: the trigger "${trigger.type}" is not served; \`mayfly invoke\` starts it with an event as it is.`)
    const details = Object.fromEntries(Object.entries(trigger).filter(([key]) => !OWN.has(key)))
    if (typeof details.path === 'string') details.path = settled(details.path)
    return { name, trigger: trigger.type, details: { ...details, ...(retryOptions ? { retry: retryOptions } : {}) } }
  })
  return { functions: described, warnings }
}
