import type { Specialised } from './specialised.ts'
import type { ShownSandbox } from './types.ts'

/** What is told of one that serves a version. */
export function shownOf({ id, spec, state, calls, process }: Specialised, nowMs: number, provisioned: boolean, memoryMb: number): Omit<ShownSandbox, 'driver'> {
  return {
    id,
    key: spec.key,
    project: spec.identity.project,
    functionName: spec.identity.functionName,
    version: spec.context.functionVersion,
    runtime: spec.runtime,
    state: state.state,
    busy: 'calls' in state ? state.calls : 0,
    calls,
    idleMs: 'sinceMs' in state ? nowMs - state.sinceMs : null,
    provisioned,
    memoryMb,
    usedMb: state.state === 'frozen' ? state.chargedMb : (process.memory()?.currentMb ?? null),
    limitMb: spec.memoryMb,
  }
}
