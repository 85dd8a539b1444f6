import { setFlagsFromString } from 'node:v8'

const PERCENT = 100

/**
 * Has V8 collect the old part of the heap when it has grown by as much as lives in it. By itself it takes how fast the process
 * makes objects for a measure, and of one that makes few it collects all that lives every two or three seconds, for nothing.
 * Called when what is loaded at the start is loaded: before that it would collect more often.
 */
export const growByAsMuchAgain = (): void => setFlagsFromString(`--heap-growing-percent=${PERCENT}`)
