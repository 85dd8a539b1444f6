import { LIMITS } from '../core/limits.ts'
import type { Clock } from '../lib/clock.ts'
import { within } from '../lib/within.ts'
import type { Generic } from './booting.ts'
import { ProtocolError } from './frames.ts'
import { exitOf, howItEnded, whyItEnded } from './exits.ts'
import { pathVariables } from './guest-paths.ts'
import type { Source, Staging } from './staging.ts'
import { type Call, type HandlerKind, LoadError, type LogSink, type SandboxSpec } from './types.ts'

/** As on Lambda: loading may take so long; then it is begun anew within the time of the call. */
export const LOAD_MS = LIMITS.loadTime.value
/** A process whose channel ended is gone within this, or nobody will know how it ended. */
const EXIT_MS = 1_000

/**
 * For these a Node that waited starts another: what wraps it, and what it reads only when it starts. That one goes on with the
 * descriptors, and has not heard what was said before.
 */
const STARTED_ANEW_FOR = ['AWS_LAMBDA_EXEC_WRAPPER', 'NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS']

/** The variable for which the process that runs a Node function is another than the one that waited; null where there is none. */
export const startedAnewFor = ({ environment }: Pick<SandboxSpec, 'environment'>): string | null =>
  STARTED_ANEW_FOR.find((name) => environment[name] !== undefined && environment[name] !== '') ?? null

export interface Load {
  readonly spec: SandboxSpec
  readonly source: Source
  /** Beside the variables of the spec. */
  readonly environment: Readonly<Record<string, string>>
  readonly limitMs: number
  /** What of its weight it has beside those of other projects. */
  readonly share: number
  readonly log: LogSink
  /** The call that it is loaded for, where all of that is known: it goes behind the load, so that the guest need not be woken again. */
  readonly first: Call | null
}

/**
 * Makes a booted sandbox a version's: its limits, then its code, while it already has its environment; then it loads.
 * @throws LoadError, also when it takes too long or ends meanwhile; what keeps the code from being given
 */
export async function loadCode(generic: Generic, load: Load, clock: Clock, staging: Staging): Promise<HandlerKind> {
  const { spec, source, limitMs, first, share } = load
  const { paths } = generic.process
  generic.process.hear((bytes) => load.log.write('stderr', bytes))
  generic.channel.announce({
    handler: spec.handler,
    framework: spec.framework ?? null,
    environment: { ...pathVariables(spec.runtime, paths), ...spec.environment, ...load.environment },
    context: spec.context,
    memoryMb: spec.memoryMb,
    codePath: paths.code,
    cachePath: source.cacheDir === null ? null : paths.keptCache,
    concurrency: spec.concurrency,
    relayPorts: spec.relayPorts,
    build: false,
  })
  generic.process.limit({ memoryMb: spec.memoryMb, share })
  // Beside all that follows: until it is in force no name is resolved, and what is sent is sent again by the kernel.
  const granting = generic.process.grant(spec.egress, spec.countEgress)
  granting.catch(() => {})
  const sized = spec.tmpMb === generic.tmpMb ? null : generic.process.resizeTmp(spec.tmpMb)
  await Promise.all([staging.give(source, generic.slotDir, generic.slotIsClear), sized])
  const isAhead = first !== null && generic.takesAhead && startedAnewFor(spec) === null
  const loading = generic.channel.load(load.log, isAhead ? { call: first, remainingMs: spec.timeoutMs } : null)
  loading.catch(() => {})
  if (!(await within(clock, limitMs, loading))) throw loadError('Sandbox.Timedout', `Task timed out after ${(limitMs / 1000).toFixed(2)} seconds`)
  const kind = await loading.catch(async (error: unknown) => {
    if (error instanceof LoadError) throw isOfSupervisor(error) ? loadError(error.errorType, messageOf(error)) : error
    if (error instanceof ProtocolError) throw loadError('Runtime.ProtocolError', `The runtime broke the protocol: ${error.message}`)
    const exit = (await within(clock, EXIT_MS, generic.process.exited)) ? await generic.process.exited : null
    const said = generic.channel.exit ?? exitOf(exit)
    const words = howItEnded(said)
    throw loadError('Runtime.ExitError', words, words + whyItEnded(said, exit, spec.memoryMb))
  })
  await granting
  return kind
}

/** The host ended the load; what the code itself calls so is no such end. */
export const isLate = (error: LoadError) => error.errorType === 'Sandbox.Timedout' && error.told !== null

/** The line of Lambda's logs for a load that came to nothing. */
export const initReport = (error: LoadError, tookMs: number) =>
  `INIT_REPORT Init Duration: ${tookMs.toFixed(2)} ms\tPhase: init\tStatus: ${isLate(error) ? 'timeout' : `error\tError Type: ${error.errorType}`}`

/** @param told  what the log says, where that is more */
function loadError(errorType: string, words: string, told: string = words): LoadError {
  return new LoadError(errorType, Buffer.from(JSON.stringify({ errorType, errorMessage: `Error: ${words}` })), { told })
}

/** The supervisor says so of a runtime or an extension that cannot be started, before it knows of any call. */
const isOfSupervisor = (error: LoadError) => /^(Runtime\.InvalidEntrypoint$|Extension\.)/.test(error.errorType)
const messageOf = (error: LoadError) => error.errorMessage.replace(/^Error: /, '')
