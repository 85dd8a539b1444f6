/**
 * The handlers that the suite calls, and what each does; a runtime's fixture writes them in its language. Where a
 * handler is asked for more than one thing, the event or the URL's path says which.
 */
export const HANDLERS = {
  echo: 'returns the event',
  context: 'returns {functionName, functionVersion, functionArn, memoryMb, logGroup, logStream, invocationId, clientContext, remainingMs} as it was told',
  environment: 'returns {atLoad, atCall}: the whole environment, as an object, when the code was loaded and now',
  sleep: 'writes the lines `begin <name>` and `end <name>` to its output with `ms` between them, and returns `name`',
  throws: 'throws the language’s ordinary error with the message `message`',
  uncaught: 'after `ms`, throws that error where no call is on the stack; waits for ever',
  rejects: 'after `ms`, leaves to nobody a task that failed with that error; waits for ever',
  exit: 'writes `bytes` x to its output, waits `ms`, writes the line `last words` and exits with the code `code`',
  big: 'returns a text of `bytes` x',
  strange: 'returns what cannot be written as JSON',
  logs: 'writes the text `out` to its output and `err` to its error output, with nothing around them',
  flood: 'writes `pieces` times `bytes` x to its output, one write each, as fast as it can, and returns null',
  busy: 'has begun a timer that never ends when it was loaded, and returns null',
  loadLogs: 'writes the line `loading` to its output while it is loaded, and returns null',
  fetchEcho:
    'answers 201 with the headers x-method, x-url and x-given (of the request’s x-given), two set-cookie (a=1, b=2), and the request’s body as it comes',
  fetchPlain: '/none: 204 without a body; /big?<bytes>: a body of so many x, in pieces of 64 KiB, each made when it is asked for',
  fetchThrows:
    '/before: throws the ordinary error with the message `before`; /after: a body of `some`, which then breaks off; /not: answers what is no response; /error: answers what has no status',
  fetchReads:
    '/all: reads the whole body and answers its length, or `broke off`; /never: waits 300 ms and answers `unread`; /cancel: reads one piece, gives up the rest, waits 300 ms and answers `given up`',
  fetchWaits:
    'gives waitUntil a promise of 150 ms that writes the line `settled` to its output, and answers at once: /none without a body, /body with `x`, /throw with an error, /reject with `x` and the promise fails, /with with a body of `x` that ends a moment before the promise settles, within one turn of the event loop',
  fetchAborts:
    '/head: writes the line `waiting`, waits for the signal of the request, writes `aborted` and answers `late`; /body: a body of `some` that then stands still, and writes `aborted` when nobody reads it any more; /full: a body without an end, which writes `aborted` likewise',
} as const
export type HandlerName = keyof typeof HANDLERS

/** Those that stream their answer, for a runtime that says `stream`. */
export const STREAMERS = {
  pieces: 'streams `pieces` times `bytes` x, each when there is room for it, with the type `type` where it is given',
  words: 'streams each text of `words` with `ms` between them, then fails with the ordinary error with the message `message` where it is given',
  nothing: 'streams nothing, and ends it',
  late: 'waits `ms` before it streams anything, writes the line `begun`, streams `x`; where it cannot, writes `gone` to its output',
} as const
export type StreamerName = keyof typeof STREAMERS

/** Code that does not load, and the type of the error that says so; null where it is the code's own. */
export const LOAD_FAULTS = {
  'the file of the handler is missing': 'Runtime.ImportModuleError',
  'a module that the code needs is missing': 'Runtime.ImportModuleError',
  'the code cannot be parsed': 'Runtime.UserCodeSyntaxError',
  'the handler is not in the code': 'Runtime.HandlerNotFound',
  'the name of the handler has no dot': 'Runtime.MalformedHandlerName',
  'the name of the handler leads out of the folder': 'Runtime.MalformedHandlerName',
  'the code throws the ordinary error with the message `at load`': null,
  'the ordinary error, `at load`, comes outside of the stack that loads': null,
} as const
export type LoadFault = keyof typeof LOAD_FAULTS

/** What a runtime may say in its hello, and what then is asked of it. */
export type Feature = 'fetch' | 'relay' | 'compile-cache' | 'stream' | 'ahead'

export interface Code {
  /** Name and text of each file in the code folder. */
  readonly files: Readonly<Record<string, string>>
  readonly handler: string
}

export interface Runtime {
  readonly command: string
  /** They end with the relay's port: 0 for any that is free. */
  readonly args: readonly string[]
  /** TMPDIR is added: a folder for files that go away again. */
  readonly environment: Readonly<Record<string, string>>
  /** As its hello says them. */
  readonly features: readonly Feature[]
  /** `one`: a call is sent when the last one is over, and a call is over some time after its outcome. */
  readonly calls: 'many' | 'one'
  /** Names in the environment that the runtime itself sets. */
  readonly adds: readonly string[]
  /** Cases that are no matter of this runtime, each with the reason. */
  readonly lacks: Readonly<Record<string, string>>
  /** Null, or why it cannot be run here. */
  readonly absent: string | null
  /** The type of the ordinary error. */
  readonly errorType: string
  /** How an error that nobody took ends the process. */
  readonly uncaught: { readonly errorType: string; readonly exitCode: number }
  readonly rejected: { readonly errorType: string; readonly exitCode: number }
  /** The code of a handler. A fetch handler is asked for only where the runtime says `fetch`, a streamer where it says `stream`. */
  handler(name: HandlerName | StreamerName): Code
  loadFault(name: LoadFault): Code
  /** Further codes that do not load, and the error's type: what only this language has. */
  readonly furtherFaults: Readonly<Record<string, Code & { readonly errorType: string }>>
}
