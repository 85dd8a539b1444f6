// What an Azure app registers, told at a deploy.
import { kindOf, queueOf, settled, topicOf, triggerOf } from './azure-bindings.mjs'
import { attemptsOf, notServedOf, takingOf, timeoutOf } from './azure-host.mjs'
import { routerOf } from './azure-http.mjs'
import { isQueueName } from './azure-queues.mjs'
import { isTopicName } from './azure-topics.mjs'

const SERVED_IN = new Set(['blob'])
const SERVED_OUT = new Set(['blob', 'http'])
const KNOWN = new Set(['httptrigger', 'timertrigger', 'blobtrigger', 'queuetrigger', 'servicebustrigger', 'eventgridtrigger', 'cosmosdbtrigger'])
const LEVELS = new Set(['anonymous', 'function', 'admin'])
/** What stands in the settings of a binding and not in what people wrote of it. */
const OWN = new Set(['name', 'direction', 'type', 'properties'])

export function describeFunctions(functions, host) {
  // A route that cannot be served is told now rather than at the first call.
  routerOf(functions, host)
  const warnings = notServedOf(host).map((at) => `host.json: "${at}" is not served.`)
  const timeoutSeconds = timeoutOf(host)
  const described = functions.map(({ metadata: { name, bindings, retryOptions } }) => {
    const trigger = triggerOf({ bindings })
    const kind = trigger.type.toLowerCase()
    for (const binding of Object.values(bindings)) if (binding.type !== trigger.type) warnings.push(...ofBinding(name, binding))
    if (!KNOWN.has(kind)) warnings.push(`${name}: the trigger "${trigger.type}" is not served; \`mayfly invoke\` starts it with an event as it is.`)
    if (kind === 'httptrigger') warnings.push(...ofHttp(name, trigger, retryOptions))
    const details = {}
    for (const [key, value] of Object.entries(trigger)) if (!OWN.has(key)) details[key] = typeof value === 'string' ? settled(value) : value
    for (const [key, value] of Object.entries(details))
      for (const [, setting] of typeof value === 'string' ? value.matchAll(/%([^%\s]+)%/g) : [])
        warnings.push(`${name}: ${key} names the setting ${setting}, which is not there; put it under "environment" of mayfly.json.`)
    const tries = { attempts: attemptsOf(kind, host), ...takingOf(kind, host), ...(retryOptions ? { retry: retryOptions } : {}) }
    return { name, trigger: trigger.type, details: { ...details, timeoutSeconds, ...tries } }
  })
  return { functions: described, warnings }
}

function ofBinding(name, binding) {
  const { type, direction } = binding
  const queue = direction === 'out' ? queueOf(binding) : null
  if (queue !== null) {
    // What a call has to fill in is seen then.
    if (/[{}%]/.test(queue) || isQueueName(queue)) return []
    return [
      `${name}: the output "${type}" goes to the queue "${queue}", which is no name of one here (1 to 80 letters, digits, - and _): calls that use it fail.`,
    ]
  }
  const topic = direction === 'out' ? topicOf(binding) : null
  if (topic !== null) {
    if (/[{}%]/.test(topic) || isTopicName(topic)) return []
    return [`${name}: the output "${type}" goes to the topic "${topic}", which is no name of one here (letters, digits, - and _): calls that use it fail.`]
  }
  if ((direction === 'out' ? SERVED_OUT : SERVED_IN).has(kindOf(binding))) return []
  return [`${name}: the ${direction === 'out' ? 'output' : 'input'} "${type}" is not served: calls that use it fail.`]
}

function ofHttp(name, { authLevel }, retryOptions) {
  const warnings = []
  if (authLevel !== undefined && !LEVELS.has(String(authLevel).toLowerCase()))
    warnings.push(`${name}: the authLevel "${authLevel}" is none; it answers nobody.`)
  if (retryOptions) warnings.push(`${name}: "retry" is of no effect where a function answers by HTTP: who calls may call again.`)
  return warnings
}
