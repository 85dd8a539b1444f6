// What a process takes from its environment only when it starts.
import { constants } from 'node:os'

/** Read by the loader, the C library or the interpreter before its first line. */
const AT_START = /^(LD_|GLIBC_|MALLOC_|PYTHON)/
/** Of these the runtime itself takes what came later. */
const TAKEN_LATER = new Set(['PYTHONPATH'])

/** Whether a runtime that was started ahead, in `before`, cannot become what `environment` asks for. */
export function startsAnew(environment, before) {
  const names = new Set([...Object.keys(environment), ...Object.keys(before)].filter((name) => AT_START.test(name) && !TAKEN_LATER.has(name)))
  return [...names].some((name) => environment[name] !== before[name])
}

export const signalNumber = (signal) => constants.signals[signal] ?? constants.signals.SIGKILL
