import { ERRORS } from '../../core/errors.ts'
import type { StoredLife } from './store.ts'

/** One attempt, as it was metered. */
export interface Execution {
  readonly attempt: number
  readonly functionName: string
  readonly version: string
  readonly startedAt: Date
  readonly outcome: 'ok' | 'error' | 'timeout' | 'exit' | 'cut' | null
  readonly durationMs: number
  /** From when it was queued until this attempt; null where nothing was. */
  readonly queueMs: number | null
}

export type LifeStatus = 'waiting' | 'running' | 'retrying' | 'held' | 'paused' | 'succeeded' | 'failed' | 'dead'

interface ShownAttempt {
  readonly attempt: number
  readonly startedAt: string | null
  readonly version: string | null
  readonly outcome: string | null
  readonly durationMs: number | null
  readonly failedAt?: string
  readonly errorType?: string | null
  readonly errorMessage?: string | null
  readonly nextAt?: string
}

const iso = (text: string) => new Date(text).toISOString()

/** What is told of an invocation; null when nothing is known of it. */
export function shownLife(id: string, { entry, letter, failures, result, told, sentLetter }: StoredLife, executions: readonly Execution[]) {
  if (entry === null && letter === null && executions.length === 0 && result === null && failures.length === 0) return null
  const attempts = attemptsOf(failures, executions)
  const of = entry ?? letter
  const deadLetter =
    letter === null ? null : { reason: letter.reason, deadAt: iso(letter.deadAt), errorType: letter.errorType, errorMessage: letter.errorMessage }
  return {
    id,
    function: of?.functionName ?? executions.at(-1)?.functionName ?? null,
    qualifier: of?.qualifier ?? null,
    status: statusOf(entry, letter, executions),
    enqueuedAt: of === null ? queuedOf(executions) : iso(of.enqueuedAt),
    nextAttemptAt: entry === null || entry.running || entry.held ? null : iso(entry.dueAt),
    orderKey: entry?.orderKey ?? null,
    webhook: of?.url ?? null,
    queue: letter?.queue ?? null,
    attempts,
    lost: of?.lost ?? 0,
    deadLetter,
    destination: shownTold(told),
    sentLetter: shownTold(sentLetter),
    result: result === null ? null : { isError: result.isError, endedAt: iso(result.endedAt), expiresAt: iso(result.expiresAt), ...payloadOf(result.payload) },
  }
}

const shownTold = (told: StoredLife['told']) =>
  told === null ? null : { condition: told.condition, kind: told.kind, target: told.target, delivery: told.delivery, at: iso(told.toldAt), isDead: told.isDead }

/** What has left the queue was metered with the time that it was in it. */
function queuedOf(executions: readonly Execution[]): string | null {
  const one = executions.find(({ queueMs }) => queueMs !== null)
  return one === undefined ? null : new Date(one.startedAt.getTime() - (one.queueMs ?? 0)).toISOString()
}

function statusOf(entry: StoredLife['entry'], letter: StoredLife['letter'], executions: readonly Execution[]): LifeStatus {
  if (letter !== null) return 'dead'
  const last = executions.at(-1)
  if (entry === null) {
    if (last === undefined) return 'succeeded'
    return last.outcome === 'ok' ? 'succeeded' : last.outcome === null ? 'running' : 'failed'
  }
  if (entry.running) return 'running'
  if (entry.paused) return 'paused'
  if (entry.held) return 'held'
  return entry.spent > 0 ? 'retrying' : 'waiting'
}

function attemptsOf(failures: StoredLife['failures'], executions: readonly Execution[]): ShownAttempt[] {
  const numbers = [...new Set([...failures.map(({ attempt }) => attempt), ...executions.map(({ attempt }) => attempt)])].toSorted((a, b) => a - b)
  return numbers.map((attempt) => {
    const ran = executions.find((one) => one.attempt === attempt)
    const failed = failures.find((one) => one.attempt === attempt)
    return {
      attempt,
      startedAt: ran?.startedAt.toISOString() ?? null,
      version: ran?.version ?? null,
      outcome: ran?.outcome ?? (failed ? outcomeWithout(failed.errorType) : null),
      durationMs: ran?.durationMs ?? null,
      ...(failed ? { failedAt: iso(failed.failedAt), errorType: failed.errorType, errorMessage: failed.errorMessage } : {}),
      ...(failed?.nextAt ? { nextAt: iso(failed.nextAt) } : {}),
    }
  })
}

/** What ended by the node's doing, whatever came of the function's code. */
const BY_NODE: ReadonlySet<string | null> = new Set(['internal', 'node', 'sandbox_lost'])
/** The function ran to the end of its answer, and its record is kept no longer. */
const RAN: ReadonlySet<string | null> = new Set(['function_failed', 'function_timeout'])

/** Of an attempt without a record of an execution: with an error of the node's it came to no user code; a webhook's has its own. */
function outcomeWithout(errorType: string | null): 'error' | 'cut' | 'refused' {
  if (BY_NODE.has(errorType)) return 'cut'
  return errorType !== null && Object.hasOwn(ERRORS, errorType) && !RAN.has(errorType) ? 'refused' : 'error'
}

/** JSON as it is; else text, or its bytes in base64. */
function payloadOf(base64: string): { readonly encoding: 'json' | 'text' | 'base64'; readonly payload: unknown } {
  const bytes = Buffer.from(base64, 'base64')
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return { encoding: 'base64', payload: base64.replaceAll('\n', '') }
  }
  try {
    return { encoding: 'json', payload: JSON.parse(text) }
  } catch {
    return { encoding: 'text', payload: text }
  }
}
