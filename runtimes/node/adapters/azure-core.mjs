// What @azure/functions asks of the worker that it runs in: `require('@azure/functions-core')`.
import module from 'node:module'

const HOOKS = ['preInvocation', 'postInvocation', 'appStart', 'appTerminate', 'log']
const LEVELS = { critical: 'error', error: 'error', warning: 'warn', information: 'info', debug: 'debug', trace: 'debug', none: 'info' }

class Disposable {
  #callback
  constructor(callback) {
    this.#callback = callback
  }
  static from(...disposables) {
    return new Disposable(() => {
      for (const one of disposables) one?.dispose?.()
    })
  }
  dispose() {
    this.#callback?.()
    this.#callback = undefined
  }
}

/** What was registered, and how it stands with the app. */
export const core = {
  functions: new Map(),
  model: null,
  capabilities: {},
  appHookData: {},
  hooks: Object.fromEntries(HOOKS.map((name) => [name, []])),
  locked: false,

  /** Of what the library itself says only warnings are for the log of the app. Hooks may change a line before it is written. */
  log(level, category, message, invocationContext = undefined, hookData = {}) {
    if (category === 'system' && !['warning', 'error', 'critical'].includes(level)) return
    const line = { level, category, message, invocationContext, hookData, appHookData: core.appHookData }
    if (category === 'user') for (const hook of core.hooks.log) hook(line)
    console[LEVELS[line.level] ?? 'info'](line.message)
  },
  async runHooks(name, context) {
    for (const hook of core.hooks[name]) await hook(context)
  },
  /** Everything is registered: the app starts, and nothing more may be. */
  async start() {
    await core.runHooks('appStart', { hookData: {}, appHookData: core.appHookData })
    core.locked = true
    core.capabilities = core.model ? await core.model.getCapabilities({}) : {}
  },
  /** The sandbox ends. */
  async end() {
    await core.runHooks('appTerminate', { hookData: {}, appHookData: core.appHookData })
  },
}

const offered = {
  version: '3.12.0',
  hostVersion: '4.1036.0',
  Disposable,
  registerFunction(metadata, callback) {
    if (core.locked) throw new Error('A function can only be registered during app startup.')
    const id = metadata.functionId ?? metadata.name
    if (core.functions.has(id)) throw new Error(`A function with id "${id}" has already been registered.`)
    core.functions.set(id, { metadata, callback })
    return new Disposable(() => core.functions.delete(id))
  },
  registerHook(name, callback) {
    if (!HOOKS.includes(name)) throw new RangeError(`Unrecognized hook "${name}"`)
    const list = core.hooks[name]
    list.push(callback)
    return new Disposable(() => list.splice(list.indexOf(callback), 1))
  },
  setProgrammingModel(model) {
    core.model = model
  },
  getProgrammingModel: () => core.model,
  log: (level, category, message) => core.log(level, category, message),
}

/** As Azure's worker does: the library is CommonJS, whichever form the app has. */
export function offerCore() {
  const { require: resolve } = module.prototype
  module.prototype.require = function (id) {
    return id === '@azure/functions-core' ? offered : resolve.call(this, id)
  }
}
