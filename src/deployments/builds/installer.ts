import { createHash } from 'node:crypto'
import { chmod, cp, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Sandboxes, SandboxSpec } from '../../sandbox/index.ts'
import { LoadError } from '../../sandbox/index.ts'
import { buildSpec, wholeBody } from './build-sandbox.ts'
import type { Registry } from './registry.ts'

/** What is installed: all that it follows from. */
export interface Wanted {
  /** `package.json` and, where there is one, its lockfile. */
  readonly files: Readonly<Record<string, string>>
  /** Packages that the app takes for granted. */
  readonly add: readonly string[]
  /** Packages whose install scripts are to run. */
  readonly scripts: readonly string[]
  readonly runtime: string
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

  /** @returns the archive of `node_modules` @throws MayflyError dependencies_failed with what npm said, sandbox_unavailable */
  async install(wanted: Wanted): Promise<Buffer> {
    const { sandboxes, registry } = this.#deps
    const spec = await this.#spec(wanted.runtime)
    // Each installs once: what one was given is gone with it.
    sandboxes.retire(spec.key)
    const late = AbortSignal.timeout(LIMITS.installTime.value)
    const body = Buffer.from(JSON.stringify({ files: wanted.files, add: wanted.add, scripts: wanted.scripts, registryPath: registry.path }))
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

  async #spec(runtime: string): Promise<SandboxSpec> {
    this.#program ??= this.#prepare().catch((error) => {
      this.#program = null
      throw error
    })
    return buildSpec({
      name: 'install',
      key: `install-${runtime}`,
      runtime,
      codeDir: await this.#program,
      handler: 'install.handler',
      environment: { MAYFLY_URL: '{relay}' },
      memoryMb: MEMORY_MB,
      timeoutMs: LIMITS.installTime.value,
      openRelay: (connection) => this.#deps.registry.accept(connection),
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
