// What host.json and the settings of an Azure app say of its functions.
import fs from 'node:fs'
import path from 'node:path'

const env = process.env
/** What of host.json is kept, by its path; what stands for itself is so whole. */
const KEPT = ['extensions.http.routePrefix', 'extensions.http.customHeaders', 'functions', 'functionTimeout']
/** How often, after how long and how many at once: what a deploy reads. */
const READ_AT_DEPLOY = [
  'extensions.queues.maxDequeueCount',
  'extensions.queues.visibilityTimeout',
  'extensions.queues.batchSize',
  'extensions.queues.newBatchThreshold',
  'extensions.serviceBus.maxConcurrentCalls',
  'extensions.blobs.poisonBlobThreshold',
]
/** Is of no matter here: where logs go, which extensions are fetched, how the cloud looks after its machines. */
const WITHOUT_MATTER = [
  'version',
  '$schema',
  'logging',
  'extensionBundle',
  'healthMonitor',
  'aggregator',
  'managedDependency',
  'telemetryMode',
  'watchDirectories',
]

/** @throws SyntaxError with the name of the file */
export function readJson(file, otherwise) {
  if (!fs.existsSync(file)) return otherwise
  const text = fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, '')
  try {
    return JSON.parse(text)
  } catch (error) {
    try {
      return JSON.parse(withoutComments(text))
    } catch {
      const wrong = new SyntaxError(`${path.basename(file)}: ${error.message}`)
      wrong.stack = `SyntaxError: ${wrong.message}`
      throw wrong
    }
  }
}

/** Azure takes comments, and commas that nothing follows. */
const withoutComments = (text) =>
  text
    .replaceAll(/("(?:[^"\\]|\\.)*")|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (_whole, string) => string ?? '')
    .replaceAll(/("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])/g, (_whole, string) => string ?? '')

/** Whether a function is one of the app's: host.json may list those that are, and a setting may disable one. */
export function isOn(name, host) {
  if (Array.isArray(host.functions) && !host.functions.includes(name)) return false
  // Names of settings have no dots where they are variables of an environment.
  const setting = ['.', '__', '_'].map((dot) => env[`AzureWebJobs${dot}${name}${dot}Disabled`]).find((value) => value !== undefined)
  return !/^(1|true)$/i.test(setting ?? '')
}

/** What of host.json is not served, by its path. */
export function notServedOf(host) {
  const known = [...KEPT, ...READ_AT_DEPLOY, ...WITHOUT_MATTER]
  const found = []
  const look = (value, at) => {
    if (known.includes(at)) return
    const isBranch = typeof value === 'object' && value !== null && !Array.isArray(value) && (at === '' || known.some((one) => one.startsWith(`${at}.`)))
    if (isBranch) for (const [name, below] of Object.entries(value)) look(below, at === '' ? name : `${at}.${name}`)
    else found.push(at)
  }
  look(host, '')
  return found
}

/** How long an invocation may take, in seconds; null for as long as it likes. Azure's own default is five minutes. */
export function timeoutOf({ functionTimeout = '00:05:00' }) {
  return /^(-1|-1:00:00)$/.test(functionTimeout) ? null : secondsOf(functionTimeout, 'functionTimeout')
}

function secondsOf(text, name) {
  const [, days = 0, hours, minutes, seconds] = /^(?:(\d+)\.)?(\d+):(\d+):(\d+)(?:\.\d+)?$/.exec(text) ?? []
  if (hours === undefined) throw new Error(`host.json: "${name}" must be such as "00:05:00", not ${JSON.stringify(text)}`)
  return Number(days) * 86_400 + Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds)
}

/** How messages are taken, by what starts their function: after how many seconds one that failed comes again, and how many are in work at once. */
export function takingOf(kind, { extensions = {} }) {
  const { queues = {}, serviceBus = {} } = extensions
  switch (kind) {
    case 'queuetrigger': {
      const { visibilityTimeout = '00:00:00', batchSize, newBatchThreshold } = queues
      const atOnce = batchSize === undefined ? undefined : batchSize + (newBatchThreshold ?? Math.floor(batchSize / 2))
      return { retryAfter: secondsOf(visibilityTimeout, 'extensions.queues.visibilityTimeout'), ...(atOnce === undefined ? {} : { atOnce }) }
    }
    case 'servicebustrigger':
      // There it is given back, and so comes at once.
      return { retryAfter: 0, ...(serviceBus.maxConcurrentCalls === undefined ? {} : { atOnce: serviceBus.maxConcurrentCalls }) }
    default:
      return {}
  }
}

/** How often an event is tried, by what starts its function; null where Azure leaves that to who sends. */
export function attemptsOf(kind, { extensions = {} }) {
  switch (kind) {
    case 'blobtrigger':
      return extensions.blobs?.poisonBlobThreshold ?? 5
    case 'queuetrigger':
      return extensions.queues?.maxDequeueCount ?? 5
    case 'servicebustrigger':
      return 10
    case 'timertrigger':
    case 'cosmosdbtrigger':
      return 1
    default:
      return null
  }
}
