import type { promises as fs } from 'node:fs'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import { MiB } from '../lib/bytes.ts'
import type { Clock } from '../lib/clock.ts'
import { within } from '../lib/within.ts'
import { type Booting, type Generic, POOL_TMP_MB } from './booting.ts'
import type { CompileCaches } from './compile-caches.ts'
import { pathVariables } from './guest-paths.ts'
import { LOAD_MS } from './loading.ts'
import type { Staging } from './staging.ts'
import { type Built, LoadError, type RuntimeName, type SandboxSpec } from './types.ts'

const CACHE_SIZE = { bytes: LIMITS.compileCache.value, files: LIMITS.compileCacheFiles.value }

export interface BuildDeps {
  readonly booting: Booting
  readonly caches: CompileCaches
  readonly staging: Staging
  readonly clock: Clock
  readonly log: Log
}

/** Other runtimes keep none: there is nothing to load before a call. */
export const hasCompileCache = (runtime: RuntimeName) => runtime.startsWith('nodejs')

/** Loads the code once in a sandbox of its own that never serves a call, and keeps the compile cache that this writes. */
export async function buildCache(deps: BuildDeps, spec: SandboxSpec): Promise<Built> {
  const { booting, caches, staging, clock, log } = deps
  const from = clock.monotonic()
  const failed = (error: string): Built => ({ ok: false, handlerKind: null, error, ms: clock.monotonic() - from })
  const key = `${spec.key}/build`
  let generic: Generic | null = null
  let written: fs.FileHandle | null = null
  try {
    generic = await booting.start({ runtime: spec.runtime, tmpMb: POOL_TMP_MB, driver: spec.driver }, 'pool', { cache: CACHE_SIZE })
    generic.life.tell('given', null)
    using _ = booting.working(generic)
    written = generic.process.cache
    await staging.give({ key, codeDir: spec.codeDir, optDir: spec.optDir, cacheDir: null }, generic.slotDir)
    // What is written to the cache is memory too, and not the function's.
    generic.process.limit({ memoryMb: spec.memoryMb + Math.ceil(CACHE_SIZE.bytes / MiB) })
    const { paths } = generic.process
    const load = generic.channel.specialise(
      {
        handler: spec.handler,
        framework: spec.framework ?? null,
        environment: pathVariables(spec.runtime, paths),
        context: spec.context,
        memoryMb: spec.memoryMb,
        codePath: paths.code,
        cachePath: paths.cache,
        concurrency: 1,
        relayPorts: [],
        build: true,
      },
      { write: () => {}, lost: () => {} },
    )
    load.catch(() => {})
    if (!(await within(clock, LOAD_MS, load))) return failed('loading took too long')
    const handlerKind = await load
    await booting.end(generic)
    if (written) await caches.keep(spec.key, written)
    await caches.keepKind(spec.key, handlerKind)
    void staging.forget(key)
    await staging.prepare(caches.sourceOf(spec)).catch(() => {})
    return { ok: true, handlerKind, error: null, ms: clock.monotonic() - from }
  } catch (error) {
    if (!(error instanceof LoadError)) log.warn({ error: (error as Error).message }, 'a compile cache could not be made')
    return failed(error instanceof Error ? error.message : String(error))
  } finally {
    if (generic) booting.drop(generic)
    await written?.close()
  }
}
