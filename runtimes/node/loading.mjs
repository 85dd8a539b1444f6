// Finds the handler in the user's code.
import fs from 'node:fs'
import module from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { adapterFor } from './adapters/adapters.mjs'
import { offerDeno, servedByDeno } from './deno.mjs'
import { HandlerError } from './errors.mjs'
import { code } from './running.mjs'
import { streamingOf } from './streams.mjs'

const EXTENSIONS = ['', '.js', '.mjs', '.cjs', '.ts', '.mts', '.cts']

/** `folder/file.export.nested`: the file ends at the first dot of its own name. @throws HandlerError */
function splitHandler(handler) {
  if (handler.includes('..')) {
    throw new HandlerError(
      'Runtime.MalformedHandlerName',
      `'${handler}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    )
  }
  const base = path.basename(handler)
  const dot = base.indexOf('.')
  if (dot <= 0) throw new HandlerError('Runtime.MalformedHandlerName', 'Bad handler')
  return { folder: handler.slice(0, handler.length - base.length), file: base.slice(0, dot), names: base.slice(dot + 1).split('.') }
}

/** @throws Error with code MODULE_NOT_FOUND */
function pathOf(root, folder, file) {
  const at = path.resolve(root, folder, file)
  for (const extension of EXTENSIONS) if (fs.statSync(at + extension, { throwIfNoEntry: false })?.isFile()) return at + extension
  // A folder or a package, as Node finds them.
  const { resolve } = module.createRequire(path.join(root, 'index.js'))
  for (const find of [() => resolve(at), () => resolve(file, { paths: [root, path.resolve(root, folder)] })]) {
    try {
      return find()
    } catch {
      // The next one, or the error below.
    }
  }
  const missing = new Error(`Cannot find module '${file}'\nRequire stack:\n- ${root}`)
  missing.code = 'MODULE_NOT_FOUND'
  throw missing
}

/** Also for a module of the standard form: in one go, where `import` takes several trips through other threads. */
async function moduleAt(file, query = '') {
  try {
    if (query === '') return module.createRequire(file)(file)
  } catch (error) {
    if (error?.code !== 'ERR_REQUIRE_ASYNC_MODULE' && error?.code !== 'ERR_REQUIRE_ESM') throw error
  }
  return await import(pathToFileURL(file).href + query)
}

/** The module, and what it gave to `Deno.serve`, or null. */
async function modulesOf(file) {
  try {
    return { loaded: await moduleAt(file), served: null }
  } catch (error) {
    if (!(error instanceof ReferenceError) || error.message !== 'Deno is not defined') throw error
    const served = offerDeno()
    // What failed once stays failed under its own name.
    return { loaded: await moduleAt(file, '?deno'), served: served() }
  }
}

const pick = (from, names) => names.reduce((value, name) => (value === undefined || value === null ? undefined : value[name]), from)

export async function load(root, handler, framework = null) {
  if (framework !== null) {
    try {
      // What such apps deploy is often compiled: their errors are told by the lines that were written.
      if (module.setSourceMapsSupport) module.setSourceMapsSupport(true, { nodeModules: false, generatedCode: false })
      else process.setSourceMapsEnabled(true)
      return await adapterFor(framework)(root, handler, moduleAt)
    } catch (error) {
      throw inLambdasWords(error)
    }
  }
  const { folder, file, names } = splitHandler(handler)
  let found
  try {
    found = await modulesOf(pathOf(root, folder, file))
  } catch (error) {
    throw inLambdasWords(error)
  }
  const { loaded, served } = found
  const named = pick(loaded, names) ?? pick(loaded?.default, names)
  if (typeof named === 'function' && !(names.length === 1 && names[0] === 'fetch')) return lambdaHandler(named)
  const standard = loaded?.default
  if (typeof standard?.fetch === 'function') return { kind: 'fetch', run: standard.fetch.bind(standard) }
  if (typeof standard === 'function') return { kind: 'fetch', run: standard }
  if (typeof loaded?.fetch === 'function') return { kind: 'fetch', run: loaded.fetch }
  if (served) return { kind: 'fetch', run: servedByDeno(served) }
  throw new HandlerError('Runtime.HandlerNotFound', named ? `${handler} is not a function` : `${handler} is undefined or not exported`)
}

function lambdaHandler(run) {
  const streaming = streamingOf(run)
  if (run.length > 2 && !streaming && !code.callbacks) {
    throw new HandlerError(
      'Runtime.CallbackHandlerDeprecated',
      'This runtime has no callback-based handlers, as none has from Node.js 24 on: return a promise instead, or use nodejs22.x.',
    )
  }
  return { kind: 'lambda', run, streaming }
}

function inLambdasWords(error) {
  if (error instanceof SyntaxError) {
    const wrapped = new HandlerError('Runtime.UserCodeSyntaxError', `SyntaxError: ${error.message}`)
    wrapped.stack = `Runtime.UserCodeSyntaxError: SyntaxError: ${error.message}\n${String(error.stack).split('\n').slice(1).join('\n')}`
    return wrapped
  }
  if (error?.code === 'MODULE_NOT_FOUND' || error?.code === 'ERR_MODULE_NOT_FOUND') {
    return new HandlerError('Runtime.ImportModuleError', `Error: ${error.message}`)
  }
  return error
}
