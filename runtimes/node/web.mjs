// Request and Response as handlers meet them. Those of Node cost more than all else of a small call, and most handlers
// ask for little: a light one answers that, and becomes a real one as soon as it is asked for more.
const realFetch = globalThis.fetch
const { stringify } = JSON
const { construct } = Reflect

let RealRequest = null
let RealResponse = null
let RealHeaders = null
/** The functions in the place of the classes. */
let Request = null
let Response = null

const getterOf = (name, realOf) =>
  function () {
    return realOf(this)[name]
  }
const methodOf = (name, realOf) =>
  function (...args) {
    return realOf(this)[name](...args)
  }

/** Every name of the real one's prototype leads to the real one that `realOf` makes. */
function delegate(light, real, realOf) {
  const own = Object.getOwnPropertyDescriptors(light.prototype)
  for (const [name, { value, get }] of Object.entries(Object.getOwnPropertyDescriptors(real.prototype))) {
    if (name === 'constructor') continue
    const descriptor = get
      ? { get: getterOf(name, realOf), enumerable: true, configurable: true }
      : { value: methodOf(name, realOf), enumerable: true, configurable: true, writable: true }
    if (get || typeof value === 'function') Object.defineProperty(light.prototype, name, descriptor)
  }
  Object.defineProperties(light.prototype, own)
  delete light.prototype.constructor
  Object.setPrototypeOf(light.prototype, real.prototype)
}

/** `make` in the place of a class: with its prototype, so that all that is made by either is an instance of both. */
function replace(name, real, make) {
  Object.defineProperty(make, 'name', { value: name, configurable: true })
  Object.defineProperty(make, 'prototype', { value: real.prototype, writable: false })
  Object.setPrototypeOf(make, real)
  Object.defineProperty(real.prototype, 'constructor', { value: make, writable: true, configurable: true })
  Object.defineProperty(globalThis, name, { value: make, writable: true, configurable: true })
}

// A URL that a parser would give back as it is.
const PLAIN_URL =
  /^https?:\/\/(?:localhost|(?:(?:0|[1-9]\d{0,2})\.){3}(?:0|[1-9]\d{0,2})|(?:[a-z\d](?:[a-z\d-]*[a-z\d])?\.)+[a-z]{2,})(?::[1-9]\d{3,4})?(?:\/[\w!$&'()*+,;=:@~-][\w!$&'()*+,;=:@~.-]*)*\/?(?:\?[\w!$&()*+,;=:@~./?-]*)?$/
const hasPath = (url) => url.indexOf('/', 8) !== -1

/** A request of the host's: its call, and its head. */
class LightRequest {
  #call
  #real = null
  #headers = null
  /** The whole body, where it came with the head; null once it was read. */
  #bytes

  constructor(call) {
    this.#call = call
    this.#bytes = call.bytes
  }
  static is(value) {
    return typeof value === 'object' && value !== null && #call in value
  }
  static real(light) {
    if (light.#real !== null) return light.#real
    const { head, body } = light.#call
    const init = { method: head.method, headers: head.headers, signal: light.#call.signal }
    if (head.method !== 'GET' && head.method !== 'HEAD') {
      if (light.#bytes !== null) init.body = light.#bytes
      else if (body) Object.assign(init, { body: body.stream, duplex: 'half' })
    }
    light.#real = new RealRequest(head.url, init)
    return light.#real
  }
  /** As others may use it up. */
  static handedOn(light) {
    const real = LightRequest.real(light)
    return light.#headers === null ? real : new RealRequest(real, { headers: light.#headers })
  }
  get method() {
    return this.#call.head.method
  }
  get url() {
    const { url } = this.#call.head
    return this.#real === null && PLAIN_URL.test(url) && hasPath(url) ? url : LightRequest.real(this).url
  }
  get headers() {
    this.#headers ??= this.#real?.headers ?? new RealHeaders(this.#call.head.headers)
    return this.#headers
  }
  get signal() {
    return this.#call.signal
  }
  clone() {
    return LightRequest.handedOn(this).clone()
  }
}
const METHODS = /^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$/

/** What a handler gets for a call. @throws TypeError where Node's own would not be made */
export const requestOf = (call) => {
  offerWeb()
  const light = new LightRequest(call)
  // What is unusual in it is refused by the real one now, and not when somebody first looks.
  if (!METHODS.test(call.head.method) || !PLAIN_URL.test(call.head.url)) LightRequest.real(light)
  return light
}

const TEXT = 'text/plain;charset=UTF-8'
const NAME = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/
const VALUE = /^[!-~](?:[\t -~]*[!-~])?$/
const NULL_BODY = new Set([204, 205, 304])

/** Lines in small letters and in their order, as the real one tells them; null for what only the real one understands. */
function linesOf(headers, type) {
  const lines = []
  if (headers !== undefined) {
    if (typeof headers !== 'object' || headers === null || Object.getPrototypeOf(headers) !== Object.prototype) return null
    const seen = new Set()
    for (const key of Reflect.ownKeys(headers)) {
      if (typeof key !== 'string') return null
      const value = headers[key]
      const name = key.toLowerCase()
      if (typeof value !== 'string' || !NAME.test(name) || !VALUE.test(value) || seen.has(name)) return null
      seen.add(name)
      lines.push([name, value])
    }
    if (seen.has('content-type')) type = null
  }
  if (type !== null) lines.push(['content-type', type])
  return lines.length < 2 ? lines : lines.sort(([one], [other]) => (one < other ? -1 : 1))
}

/** A Response of a text or some bytes, which nobody has looked at. */
class LightResponse {
  #status
  #lines
  #body
  #real = null

  constructor(status, lines, body) {
    this.#status = status
    this.#lines = lines
    this.#body = body
  }
  static real(light) {
    light.#real ??= new RealResponse(light.#body, { status: light.#status, headers: light.#lines })
    return light.#real
  }
  /** Null for one that is real, or has become so. */
  static parts(value) {
    if (!(#status in value) || value.#real !== null) return null
    return { status: value.#status, headers: value.#lines, body: value.#body }
  }
  get status() {
    return this.#status
  }
  get ok() {
    return this.#status < 300
  }
}

/** Null where only the real one will do: it also says what is wrong. */
function lightResponse(body, init, type) {
  let status = 200
  let headers
  if (init !== undefined) {
    if (typeof init !== 'object' || init === null || Object.getPrototypeOf(init) !== Object.prototype) return null
    for (const name in init) if (name !== 'status' && name !== 'headers') return null
    if (init.status !== undefined) status = init.status
    headers = init.headers
  }
  if (!Number.isInteger(status) || status < 200 || status > 599 || NULL_BODY.has(status)) return null
  const lines = linesOf(headers, typeof body === 'string' ? type : null)
  return lines === null ? null : new LightResponse(status, lines, body)
}

/** What the parts of a light Response are; null for any other. */
export const partsOf = LightResponse.parts

/**
 * From here on code meets these. Node's own are loaded for it, which takes as long as the start of a process: before anything
 * waits, or at the first call that cannot be without. So much as to look at how Node offers them would load them too.
 */
export function offerWeb() {
  if (RealRequest !== null) return
  RealRequest = globalThis.Request
  RealResponse = globalThis.Response
  RealHeaders = globalThis.Headers
  delegate(LightRequest, RealRequest, LightRequest.real)
  delegate(LightResponse, RealResponse, LightResponse.real)
  Request = function (...args) {
    if (new.target === undefined) throw new TypeError("Class constructor Request cannot be invoked without 'new'")
    if (LightRequest.is(args[0])) args[0] = LightRequest.handedOn(args[0])
    return construct(RealRequest, args, new.target === Request ? RealRequest : new.target)
  }
  Response = function (body = null, init = undefined) {
    if (new.target === undefined) throw new TypeError("Class constructor Response cannot be invoked without 'new'")
    const light = new.target === Response && typeof body === 'string' ? lightResponse(body, init, TEXT) : null
    return light ?? construct(RealResponse, [body, init], new.target === Response ? RealResponse : new.target)
  }
  replace('Request', RealRequest, Request)
  replace('Response', RealResponse, Response)
  const json = function (data, init = undefined) {
    const text = this === Response && init === undefined && data !== undefined ? stringify(data) : undefined
    return text === undefined ? RealResponse.json(data, init) : new LightResponse(200, [['content-type', 'application/json']], text)
  }
  Object.defineProperty(json, 'name', { value: 'json', configurable: true })
  Object.defineProperty(Response, 'json', { value: json, enumerable: true, writable: true, configurable: true })
  const fetch = (input, init = undefined) => realFetch(LightRequest.is(input) ? LightRequest.handedOn(input) : input, init)
  Object.defineProperty(fetch, 'name', { value: 'fetch', configurable: true })
  Object.defineProperty(globalThis, 'fetch', { value: fetch, writable: true, configurable: true, enumerable: true })
}
