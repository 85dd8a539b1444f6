import { createHash } from 'node:crypto'
import { chmod, cp, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Sandboxes, SandboxSpec } from '../../sandbox/index.ts'
import { LoadError } from '../../sandbox/index.ts'
import { buildSpec, wholeBody } from './build-sandbox.ts'
import type { Registry } from './registry.ts'
import type { NamedRegistry } from './request.ts'

/** What is installed: all that it follows from. */
export interface Wanted {
  /** `package.json` and, where there is one, its lockfile. */
  readonly files: Readonly<Record<string, string>>
  /** Packages that the app takes for granted. */
  readonly add: readonly string[]
  /** Packages whose install scripts are to run. */
  readonly scripts: readonly string[]
  readonly runtime: string
  readonly registries: readonly NamedRegistry[]
  readonly legacyPeerDeps: boolean
  /** An app that is built, by scripts of its package.json; null where packages are all that is asked for. */
  readonly build: { readonly artefact: string; readonly folder: string; readonly run: readonly string[] } | null
}

export interface InstallerDeps {
  readonly sandboxes: Sandboxes
  readonly registry: Registry
  /** The folder of this checkout's packages. */
  readonly packages: string
  /** The folder of what runs in sandboxes. */
  readonly runtimes: string
  /** A folder of the data directory that is this object's. */
  readonly folder: string
  readonly newId: () => string
}

/** What the program is made of: npm itself carries all that it needs. */
const PACKAGES = ['npm', 'yazl', 'buffer-crc32'] as const
const MEMORY_MB = 1_024
const NO_LOG = { write: () => {}, lost: () => {} }

/** Runs npm in a sandbox that knows no secret and reaches nothing but the registry. */
export class Installer {
  readonly #deps: InstallerDeps
  #program: Promise<string> | null = null

  constructor(deps: InstallerDeps) {
    this.#deps = deps
  }

  /** @returns the archive of `node_modules`, or of a whole app that was built @throws MayflyError dependencies_failed with what npm said, sandbox_unavailable */
  async install(wanted: Wanted): Promise<Buffer> {
    const { sandboxes, registry } = this.#deps
    const { files, add, scripts, legacyPeerDeps, build } = wanted
    const named = registry.withNamed(wanted.registries)
    const spec = await this.#spec(wanted.runtime, named)
    const late = AbortSignal.timeout(LIMITS.installTime.value)
    const app = build === null ? {} : { app: await filesOf(build.folder), run: build.run }
    const body = Buffer.from(JSON.stringify({ files, add, scripts, legacyPeerDeps, registryPath: named.path, ...app }))
    // Each installs once, for one app alone: what it was given is gone with it.
    using _over = { [Symbol.dispose]: () => sandboxes.retire(spec.key) }
    using lease = await sandboxes.acquire(spec, NO_LOG, late).catch((error: unknown) => {
      if (error instanceof LoadError) throw new Error(`the installer does not load: ${error.errorMessage}`, { cause: error })
      throw error
    })
    const id = this.#deps.newId()
    const result = await lease.run(
      {
        kind: 'http',
        context: { invocationId: id, traceId: '', clientContext: null, depth: 0, invokedArn: spec.context.functionArn },
        method: 'POST',
        url: 'http://localhost/',
        headers: [['content-type', 'application/json']],
        body: once(body),
      },
      NO_LOG,
      late,
    )
    if (result.kind === 'error') throw failed(result.errorType === 'Sandbox.Timedout' ? 'npm took too long' : `npm ended with ${result.errorType}`)
    if (result.kind !== 'http') throw failed('npm gave no answer')
    const most = LIMITS.unzippedCode.value
    const answer = await wholeBody(result, most, () => failed(`the packages are larger than ${most} bytes`))
    if (result.status !== 200) throw failed(saidOf(answer))
    return answer
  }

  async #spec(runtime: string, registry: Registry): Promise<SandboxSpec> {
    this.#program ??= this.#prepare().catch((error) => {
      this.#program = null
      throw error
    })
    return buildSpec({
      name: 'install',
      key: `install-${this.#deps.newId()}`,
      runtime,
      codeDir: await this.#program,
      handler: 'install.handler',
      environment: { MAYFLY_URL: '{relay}' },
      memoryMb: MEMORY_MB,
      timeoutMs: LIMITS.installTime.value,
      openRelay: (connection) => registry.accept(connection),
    })
  }

  /** Copies the program to where sandboxes can be given it: on their file system, and read-only. */
  async #prepare(): Promise<string> {
    const { folder, packages, runtimes } = this.#deps
    const { version } = JSON.parse(await readFile(path.join(packages, 'npm', 'package.json'), 'utf8')) as { version: string }
    const own = await readFile(path.join(runtimes, 'installer', 'install.mjs'))
    const at = path.join(folder, `npm-${version}-${createHash('sha256').update(own).digest('hex').slice(0, 12)}`)
    if (existsSync(at)) return at
    const beside = `${at}.${this.#deps.newId()}`
    await mkdir(path.join(beside, 'node_modules'), { recursive: true, mode: 0o755 })
    for (const name of PACKAGES) await cp(path.join(packages, name), path.join(beside, 'node_modules', name), { recursive: true })
    await cp(path.join(runtimes, 'installer', 'install.mjs'), path.join(beside, 'install.mjs'))
    for (const entry of await readdir(beside, { recursive: true, withFileTypes: true }))
      await chmod(path.join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o444)
    await rename(beside, at).catch(async (error: NodeJS.ErrnoException) => {
      await rm(beside, { recursive: true, force: true })
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
    return at
  }
}

/** Sources that are built; what is larger is built before it is sent. */
const MOST_SOURCE = 64 * 1024 * 1024

/** The files of an app by their names, each as base64 and whether it can be run. */
async function filesOf(folder: string): Promise<Record<string, readonly [base64: string, executable: boolean]>> {
  const files: Record<string, readonly [string, boolean]> = {}
  let bytes = 0
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = path.join(entry.parentPath, entry.name)
    const content = await readFile(file)
    bytes += content.length
    if (bytes > MOST_SOURCE) throw failed(`the app has more than ${MOST_SOURCE} bytes of source; build it before the deploy`)
    files[path.relative(folder, file)] = [content.toString('base64'), ((await stat(file)).mode & 0o111) !== 0]
  }
  return files
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

const failed = (why: string) => new MayflyError('dependencies_failed', `the dependencies could not be installed: ${why}`)

/** npm's own words are those of whoever wrote the packages. */
function saidOf(answer: Buffer): string {
  try {
    const { said } = JSON.parse(answer.toString('utf8')) as { said?: unknown }
    if (typeof said === 'string') return said.replaceAll(/https?:\/\/127\.0\.0\.1:\d+/g, '').slice(0, 4_000)
  } catch {
    // Then it says nothing that can be read.
  }
  return 'npm failed and did not say why'
}
