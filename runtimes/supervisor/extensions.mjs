// Lambda's Extensions API, version 2020-01-01: programs of layers beside the runtime, told of each invocation and of
// the end of the sandbox. Those in /opt/extensions are started here, before the runtime; a runtime may register more.
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { accepted, fail, json, readBody, TOO_LARGE } from './http.mjs'
import { plain } from './runtime-api.mjs'

const MAX_EXTENSIONS = 10
const MAX_REQUEST = 64 * 1024
const EVENTS = new Set(['INVOKE', 'SHUTDOWN'])
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

const refuse = (response, errorType, errorMessage) => fail(response, 403, errorType, errorMessage)

export class Extensions {
  /**
   * @param hears  `about()`: {functionName, functionVersion, handler}; `registered()`: all that were started have
   *   registered; `idle()`: one that worked asks for more; `failed(error)`: one ended or gave up, {type, body}
   */
  constructor(hears) {
    this.hears = hears
    /** By name: {name, id, events, external, working, next, child}. */
    this.all = new Map()
    this.closed = false
    this.ending = null
  }

  /** Whether none works on an invocation, and none that was started is still on its way to its first question. */
  get isIdle() {
    return [...this.all.values()].every((one) => !one.working)
  }
  get hasShutdown() {
    return [...this.all.values()].some((one) => one.external)
  }

  /** Starts those of the layers. @returns how many there are */
  start(folder, { env, outputs }) {
    const names = programsIn(folder)
    if (names.length > MAX_EXTENSIONS)
      this.hears.failed(plain('Extension.TooManyExtensions', `Error: ${names.length} extensions; the limit is ${MAX_EXTENSIONS}`))
    for (const name of names.slice(0, MAX_EXTENSIONS)) {
      const one = { name, id: null, events: new Set(), external: true, working: true, next: null, child: null }
      this.all.set(name, one)
      one.child = spawn(path.join(folder, name), [], { cwd: '/', env, stdio: ['ignore', outputs[0].write, outputs[1].write] })
      one.child.once('error', (error) => this.hears.failed(plain('Extension.LaunchError', `Error: ${error.code ?? error.message}`)))
      one.child.once('exit', (code, signal) => {
        one.child = null
        if (this.ending !== null) return this.ending.left()
        this.hears.failed(plain('Extension.Crash', `Error: ${signal === null ? `exit code ${code}` : `signal: ${signal}`}`))
      })
    }
    return this.all.size
  }

  /** The runtime has asked for its first invocation: nobody registers any more. */
  close() {
    this.closed = true
  }

  /** @param event  {deadlineMs, requestId, invokedFunctionArn, traceId} */
  invoke({ traceId, ...event }) {
    const told = { eventType: 'INVOKE', ...event, tracing: { type: 'X-Amzn-Trace-Id', value: traceId } }
    for (const one of this.all.values()) {
      if (!one.events.has('INVOKE')) continue
      one.working = true
      this.#tell(one, told)
    }
  }

  /** Tells the end to those that asked to hear of it; resolves when all that were started are gone, or the time is over. */
  async shutDown(shutdownReason, ms) {
    if (this.ending !== null) return await this.ending.over
    const { promise, resolve } = Promise.withResolvers()
    const left = () => [...this.all.values()].every((one) => one.child === null) && resolve()
    this.ending = { over: promise, left }
    const told = { eventType: 'SHUTDOWN', deadlineMs: Date.now() + ms, shutdownReason }
    for (const one of this.all.values()) {
      if (one.events.has('SHUTDOWN')) this.#tell(one, told)
      else one.child?.kill('SIGKILL')
    }
    left()
    const late = setTimeout(resolve, ms)
    await promise
    clearTimeout(late)
    this.drop()
  }

  drop() {
    for (const one of this.all.values()) one.child?.kill('SIGKILL')
  }

  /** @returns whether the path was one of this API */
  take(request, response, at) {
    const { method } = request
    if (method === 'POST' && at === '/extension/register') void this.#register(request, response)
    else if (method === 'GET' && at === '/extension/event/next') this.#next(request, response)
    else if (method === 'POST' && at === '/extension/init/error') this.#giveUp(request, response, 'Extension.InitError')
    else if (method === 'POST' && at === '/extension/exit/error') this.#giveUp(request, response, 'Extension.ExitError')
    else return false
    return true
  }

  async #register(request, response) {
    const name = request.headers['lambda-extension-name']
    if (!name) return refuse(response, 'Extension.InvalidExtensionName', 'Empty extension name')
    const body = await readBody(request, MAX_REQUEST)
    const events = body === null || body === TOO_LARGE ? undefined : eventsIn(body)
    if (events === undefined) return refuse(response, 'InvalidRequestFormat', 'Invalid request format')
    const known = this.all.get(name)
    if (known !== undefined && known.id !== null) return this.#notAllowed(response, known, 'Register')
    if (this.closed) return refuse(response, 'Extension.RegistrationClosed', 'Extension registration closed already')
    const wrong = events.find((event) => !EVENTS.has(event) || (known === undefined && event === 'SHUTDOWN'))
    if (wrong !== undefined) return refuse(response, 'Extension.InvalidEventType', `${wrong}: invalid event type`)
    if (known === undefined && this.all.size >= MAX_EXTENSIONS)
      return refuse(response, 'Extension.TooManyExtensions', `Extension limit (${MAX_EXTENSIONS}) reached`)
    const one = known ?? { name, external: false, working: true, next: null, child: null }
    Object.assign(one, { id: randomUUID(), events: new Set(events) })
    this.all.set(name, one)
    const about = this.hears.about()
    const features = (request.headers['lambda-extension-accept-feature'] ?? '').split(',').map((feature) => feature.trim())
    json(response, 200, features.includes('accountId') ? about : { ...about, accountId: undefined }, { 'Lambda-Extension-Identifier': one.id })
    if ([...this.all.values()].every(({ id }) => id !== null)) this.hears.registered()
  }

  #next(request, response) {
    const one = this.#whose(request, response)
    if (one === null) return
    one.next?.destroy()
    one.next = response
    response.once('close', () => {
      if (one.next === response) one.next = null
    })
    if (one.due !== undefined) return this.#tell(one, one.due)
    if (!one.working) return
    one.working = false
    this.hears.idle()
  }

  #tell(one, event) {
    if (one.next === null) {
      one.due = event
      return
    }
    const response = one.next
    one.next = null
    delete one.due
    json(response, 200, event, { 'Lambda-Extension-Event-Identifier': randomUUID() })
  }

  #giveUp(request, response, type) {
    const one = this.#whose(request, response)
    if (one === null) return
    const said = request.headers['lambda-extension-function-error-type']
    if (!said) return refuse(response, 'Extension.MissingHeader', 'Lambda-Extension-Function-Error-Type not found')
    request.resume()
    accepted(response)
    this.hears.failed(plain(type, `Error: ${String(said).slice(0, 200)}`))
  }

  #whose(request, response) {
    const id = request.headers['lambda-extension-identifier']
    if (!id) refuse(response, 'Extension.MissingExtensionIdentifier', 'Missing Lambda-Extension-Identifier header')
    else if (!UUID.test(id)) refuse(response, 'Extension.InvalidExtensionIdentifier', 'Invalid Lambda-Extension-Identifier')
    else {
      for (const one of this.all.values()) if (one.id === id) return one
      refuse(response, 'Extension.UnknownExtensionIdentifier', `Unknown extension ${id}`)
    }
    return null
  }

  #notAllowed(response, one, to) {
    refuse(
      response,
      'Extension.InvalidExtensionState',
      `State transition from Registered to ${to} failed for extension ${one.name}. Error: State transition is not allowed`,
    )
  }
}

/** Undefined where the body is not of the form. */
function eventsIn(body) {
  try {
    const { events } = JSON.parse(body.toString('utf8'))
    if (events === null || events === undefined) return []
    return Array.isArray(events) && events.every((event) => typeof event === 'string') ? events : undefined
  } catch {
    return undefined
  }
}

function programsIn(folder) {
  try {
    return fs.readdirSync(folder).filter((name) => {
      const file = path.join(folder, name)
      return fs.statSync(file).isFile() && (fs.statSync(file).mode & 0o111) !== 0
    })
  } catch {
    return []
  }
}
