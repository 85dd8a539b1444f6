// Errors in Lambda's words.
import util from 'node:util'

const { stringify } = JSON

export function errorPayload(error) {
  try {
    if (util.types.isNativeError(error) || error instanceof Error) {
      const trace = typeof error.stack === 'string' ? error.stack.split('\n') : []
      return { errorType: String(error.name || 'Error'), errorMessage: String(error.message), trace }
    }
    return { errorType: typeof error, errorMessage: String(error), trace: [] }
  } catch {
    return {
      errorType: 'handled',
      errorMessage: 'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack',
    }
  }
}

const MAX_ERROR = 48 * 1024
export function errorBytes(payload) {
  let bytes = Buffer.from(stringify(payload))
  if (bytes.length > MAX_ERROR) {
    bytes = Buffer.from(
      stringify({
        errorType: payload.errorType.slice(0, 200),
        errorMessage: payload.errorMessage.slice(0, 16_000),
        trace: (payload.trace ?? []).slice(0, 20).map((line) => line.slice(0, 500)),
      }),
    )
  }
  return bytes
}

export class HandlerError extends Error {
  constructor(type, message) {
    super(message)
    // As with the errors of the language, it is none of what its owner put on it.
    Object.defineProperty(this, 'name', { value: type, configurable: true, writable: true })
  }
}

/** Its text without the lines that are the runtime's or Node's own: those of the user's files are what its owner looks for. */
export const ownWords = (error) => withoutOurs(util.inspect(error))

/** The same error, with such a stack. */
export function inOwnLines(error) {
  try {
    if (util.types.isNativeError(error) && typeof error.stack === 'string') error.stack = withoutOurs(error.stack)
  } catch {
    // One that cannot be changed is told as it is.
  }
  return error
}

const RUNTIME = import.meta.dirname
const withoutOurs = (text) =>
  text
    .split('\n')
    .filter((line) => !/^\s*at /.test(line) || !(line.includes(RUNTIME) || line.includes('(node:internal/') || line.includes('at node:internal/')))
    .join('\n')
