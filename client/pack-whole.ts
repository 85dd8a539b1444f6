import { existsSync, promises as fs, statSync } from 'node:fs'
import path from 'node:path'
import { FolderError } from './mayfly-json.ts'

/** What a folder holds for those who work on it, and no function needs. */
const LEFT_OUT = new Set(['mayfly.json', '__pycache__', 'venv', 'node_modules'])
const leftOut = (name: string) => name.startsWith('.') || LEFT_OUT.has(name) || name.endsWith('.pyc')

/** Whether code of a runtime is packed as it lies in its folder, rather than bundled. */
export const isPackedWhole = (runtime: unknown): runtime is string => typeof runtime === 'string' && !runtime.startsWith('nodejs')

/**
 * The files of a folder as they are.
 * @returns each by its name in the archive, with the handler that is meant
 * @throws FolderError when what the runtime begins with is not there
 */
export async function wholeFolder(
  root: string,
  definition: { readonly runtime: string; readonly handler?: string; readonly layers?: unknown },
): Promise<{ readonly files: Map<string, string>; readonly handler: string | null }> {
  const files = new Map<string, string>()
  const real = await fs.realpath(root)
  const collect = async (below: string): Promise<void> => {
    for (const entry of await fs.readdir(path.join(root, below), { withFileTypes: true })) {
      if (leftOut(entry.name)) continue
      const name = below === '' ? entry.name : `${below}/${entry.name}`
      const file = path.join(root, name)
      if (entry.isDirectory()) await collect(name)
      else if (entry.isFile() || (entry.isSymbolicLink() && isFileIn(real, await fs.realpath(file).catch(() => null)))) files.set(name, file)
    }
  }
  await collect('')
  const hasLayers = Array.isArray(definition.layers) && definition.layers.length > 0
  if (definition.runtime.startsWith('python')) return { files, handler: pythonHandler(root, definition.handler, hasLayers) }
  if (!hasLayers) checkBootstrap(root, definition.runtime)
  return { files, handler: definition.handler ?? null }
}

const isFileIn = (folder: string, file: string | null) => (file?.startsWith(`${folder}${path.sep}`) ?? false) && statSync(file as string).isFile()

function checkBootstrap(root: string, runtime: string): void {
  const file = path.join(root, 'bootstrap')
  if (!existsSync(file)) throw new FolderError(`${root} has no file "bootstrap", which ${runtime} runs.`)
  if ((statSync(file).mode & 0o111) === 0) throw new FolderError(`${file} must be executable: chmod +x it.`)
}

/** `folder/module.name` and `package.module.name`, as Lambda reads them. */
function pythonHandler(root: string, given: string | undefined, hasLayers: boolean): string {
  const handler =
    given ??
    (!existsSync(path.join(root, 'index.py')) && existsSync(path.join(root, 'lambda_function.py')) ? 'lambda_function.lambda_handler' : 'index.handler')
  const module = handler.slice(0, handler.lastIndexOf('.')).replaceAll('.', '/')
  const there = [`${module}.py`, `${module}/__init__.py`].some((file) => existsSync(path.join(root, file)))
  if (!there && !hasLayers)
    throw new FolderError(`${root} has no ${module}.py, where the handler ${handler} should be; name another with "handler" in mayfly.json.`)
  return handler
}
