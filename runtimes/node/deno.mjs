// The part of Deno that functions written for it are served by: `Deno.serve` and `Deno.env`.
const realEnv = process.env

const env = {
  get: (name) => realEnv[name],
  has: (name) => realEnv[name] !== undefined,
  toObject: () => ({ ...realEnv }),
}

/**
 * Puts a global `Deno` in place. Code that runs in Node too asks whether it is there, so it is not before a module asks
 * for it in vain.
 * @returns who tells what was served; null where nothing was
 */
export function offerDeno() {
  let served = null
  const serve = (...told) => {
    const options = told.find((one) => typeof one === 'object' && one !== null) ?? {}
    const handler = told.find((one) => typeof one === 'function') ?? options.handler ?? options.fetch
    if (typeof handler !== 'function') throw new TypeError('Deno.serve: a handler is needed')
    if (served) throw new Error('Deno.serve: a function serves once')
    served = handler
    const addr = { transport: 'tcp', hostname: options.hostname ?? '0.0.0.0', port: options.port ?? 8000 }
    options.onListen?.(addr)
    const finished = new Promise(() => {})
    return { addr, finished, shutdown: async () => {}, ref: () => {}, unref: () => {} }
  }
  const there = { serve, env }
  const deno = new Proxy(there, {
    get: (_, name) => {
      if (name in there || typeof name === 'symbol') return there[name]
      throw new Error(`Deno.${name} is not available: of Deno a function has serve and env. Use node:fs and the like, which Deno has too.`)
    },
  })
  Object.defineProperty(globalThis, 'Deno', { value: deno, writable: true, configurable: true })
  return () => served
}

/** A handler of `Deno.serve` gets the request and where it came from. */
export const servedByDeno = (handler) => (request) => handler(request, { remoteAddr: { transport: 'tcp', hostname: '127.0.0.1', port: 0 } })
