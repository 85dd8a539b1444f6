// Finds the handler in the user's code.
import fs from 'node:fs'
import module from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { HandlerError } from './errors.mjs'
import { streamingOf } from './streams.mjs'

function splitHandler(handler) {
  if (handler.includes('..'))
    throw new HandlerError(
      'Runtime.MalformedHandlerName',
      `'${handler}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    )
  const base = path.basename(handler)
  const dot = base.indexOf('.')
  if (dot <= 0 || dot === base.length - 1) throw new HandlerError('Runtime.MalformedHandlerName', 'Bad handler')
  return { file: path.join(path.dirname(handler), base.slice(0, dot)), names: base.slice(dot + 1).split('.') }
}

async function loadModule(root, file) {
  const at = path.resolve(root, file)
  for (const extension of ['', '.js', '.mjs', '.cjs', '.ts', '.mts']) {
    const candidate = at + extension
    if (!fs.statSync(candidate, { throwIfNoEntry: false })?.isFile()) continue
    // Also for a module of the standard form: in one go, where `import` takes several trips through other threads.
    try {
      return module.createRequire(candidate)(candidate)
    } catch (error) {
      if (error?.code === 'ERR_REQUIRE_ASYNC_MODULE' || error?.code === 'ERR_REQUIRE_ESM') return await import(pathToFileURL(candidate).href)
      throw error
    }
  }
  const missing = new Error(`Cannot find module '${file}'\nRequire stack:\n- ${root}`)
  missing.code = 'MODULE_NOT_FOUND'
  throw missing
}

const pick = (from, names) => names.reduce((value, name) => (value === undefined || value === null ? undefined : value[name]), from)

export async function load(root, handler) {
  const { file, names } = splitHandler(handler)
  let loaded
  try {
    loaded = await loadModule(root, file)
  } catch (error) {
    if (error instanceof SyntaxError) {
      const wrapped = new HandlerError('Runtime.UserCodeSyntaxError', `SyntaxError: ${error.message}`)
      wrapped.stack = `Runtime.UserCodeSyntaxError: SyntaxError: ${error.message}\n${String(error.stack).split('\n').slice(1).join('\n')}`
      throw wrapped
    }
    if (error?.code === 'MODULE_NOT_FOUND' || error?.code === 'ERR_MODULE_NOT_FOUND')
      throw new HandlerError('Runtime.ImportModuleError', `Error: ${error.message}`)
    throw error
  }
  const found = pick(loaded, names) ?? pick(loaded?.default, names)
  const standard = loaded?.default
  if (typeof found === 'function' && !(names.length === 1 && names[0] === 'fetch')) {
    const streaming = streamingOf(found)
    if (found.length > 2 && !streaming) {
      throw new HandlerError('Runtime.CallbackHandlerDeprecated', 'Callback-based handlers are not supported by this runtime: return a promise instead.')
    }
    return { kind: 'lambda', run: found, streaming }
  }
  if (typeof standard?.fetch === 'function') return { kind: 'fetch', run: standard.fetch.bind(standard) }
  if (typeof standard === 'function') return { kind: 'fetch', run: standard }
  if (typeof loaded?.fetch === 'function') return { kind: 'fetch', run: loaded.fetch }
  throw new HandlerError('Runtime.HandlerNotFound', `${handler} is undefined or not exported`)
}
