import { existsSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import path from 'node:path'
import { type BuildContext, type BuildOptions, type BuildResult, build, context, type Plugin, stop } from 'esbuild'
import { packageOf, resolvePackage } from './packages.ts'

/** What is to become one file. */
export interface BundleWish {
  readonly root: string
  readonly entry: string
  /** The version of Node that runs it. */
  readonly node: string
  /** What is not found is left to layers. */
  readonly hasLayers: boolean
}

export interface Bundled {
  readonly code: Uint8Array
  /** Packages that cannot be bundled, by name, with their folders. */
  readonly native: ReadonlyMap<string, string>
  /** The files that it was made of, absolute. */
  readonly inputs: readonly string[]
}

export interface Bundler {
  /** @throws what esbuild throws: `errors`, each with its place */
  bundle(wish: BundleWish): Promise<Bundled>
}

const optionsOf = (wish: BundleWish, native: Map<string, string>) =>
  ({
    entryPoints: [wish.entry],
    absWorkingDir: wish.root,
    bundle: true,
    platform: 'node',
    target: `node${wish.node}`,
    format: 'esm',
    outfile: path.join(wish.root, 'index.mjs'),
    write: false,
    metafile: true,
    sourcemap: 'inline',
    sourcesContent: false,
    legalComments: 'none',
    logLevel: 'silent',
    // What was CommonJS in the bundle asks for require.
    banner: { js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" },
    plugins: [nativePackages(native), ...(wish.hasLayers ? [layerPackages] : [])],
  }) satisfies BuildOptions

type Made = BuildResult<ReturnType<typeof optionsOf>>

const bundledOf = (wish: BundleWish, made: Made, native: ReadonlyMap<string, string>): Bundled => ({
  code: made.outputFiles[0]?.contents ?? new Uint8Array(),
  native: new Map(native),
  inputs: Object.keys(made.metafile.inputs).map((file) => path.resolve(wish.root, file)),
})

/** For who bundles once: nothing of the bundler stays. */
export const bundleOnce: Bundler = {
  async bundle(wish) {
    const native = new Map<string, string>()
    try {
      return bundledOf(wish, await build(optionsOf(wish, native)), native)
    } finally {
      // The bundler's own process would stay as long as ours.
      await stop()
    }
  },
}

/** For who bundles the same again and again: it keeps what it has read, and looks at what changed. */
export class WarmBundler implements Bundler, AsyncDisposable {
  readonly #contexts = new Map<string, { readonly context: BuildContext<ReturnType<typeof optionsOf>>; readonly native: Map<string, string> }>()

  async bundle(wish: BundleWish): Promise<Bundled> {
    const name = JSON.stringify(wish)
    let kept = this.#contexts.get(name)
    if (!kept) {
      const native = new Map<string, string>()
      kept = { native, context: await context(optionsOf(wish, native)) }
      this.#contexts.set(name, kept)
    }
    kept.native.clear()
    return bundledOf(wish, await kept.context.rebuild(), kept.native)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { context } of this.#contexts.values()) await context.dispose()
    this.#contexts.clear()
    await stop()
  }
}

/** Leaves packages with compiled parts out of the bundle and remembers where they lie. */
const nativePackages = (native: Map<string, string>): Plugin => ({
  name: 'native-packages',
  setup: (esbuild) => {
    esbuild.onResolve({ filter: /^[^./]/ }, (found) => {
      if (found.kind === 'entry-point' || found.path.startsWith('node:')) return null
      const name = found.path
        .split('/')
        .slice(0, found.path.startsWith('@') ? 2 : 1)
        .join('/')
      const folder = resolvePackage(name, found.resolveDir)
      if (!folder || !isNative(folder)) return null
      native.set(name, folder)
      return { path: found.path, external: true }
    })
  },
})

/** Leaves to the function's layers what is not there. It is loaded by `require`, as `import` does not look into layers. */
const layerPackages: Plugin = {
  name: 'layer-packages',
  setup: (esbuild) => {
    esbuild.onResolve({ filter: /^[^./]/ }, (found) => {
      if (found.kind === 'entry-point' || isBuiltin(found.path)) return null
      if (found.namespace === 'layer') return { path: found.path, external: true }
      const [scope = '', name = ''] = found.path.split('/')
      if (resolvePackage(scope.startsWith('@') ? `${scope}/${name}` : scope, found.resolveDir)) return null
      return { path: found.path, namespace: 'layer' }
    })
    esbuild.onLoad({ filter: /./, namespace: 'layer' }, ({ path: name }) => ({ contents: `module.exports = require(${JSON.stringify(name)})` }))
  },
}

function isNative(folder: string): boolean {
  const own = packageOf(folder)
  if (own.gypfile || own.binary !== undefined || existsSync(path.join(folder, 'binding.gyp')) || existsSync(path.join(folder, 'prebuilds'))) return true
  // Compiled parts that come as packages of their own, one per platform.
  return Object.keys(own.optionalDependencies ?? {}).some((name) => {
    const at = resolvePackage(name, folder)
    const other = at ? packageOf(at) : null
    return other?.os !== undefined || other?.cpu !== undefined
  })
}
