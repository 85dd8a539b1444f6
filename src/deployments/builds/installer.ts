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
  /** `package.json` and, where there is one, its lockfile with what belongs to that. */
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

/** What the program is made of; each carries all that it needs. npm runs what the others installed. */
const PACKAGES = ['npm', 'yazl', 'buffer-crc32'] as const
const TOOLS = { npm: [], pnpm: ['pnpm'], yarn: ['@yarnpkg/cli-dist'] } as const
type Tool = keyof typeof TOOLS
/** Of `yarn.lock` in the form that npm reads. */
export const YARN_1 = '# yarn lockfile v1'
const MEMORY_MB = 1_024
const NO_LOG = { write: () => {}, lost: () => {} }

/** Runs npm in a sandbox that knows no secret and reaches nothing but the registry. */
export class Installer {
  readonly #deps: InstallerDeps
  readonly #programs = new Map<Tool, Promise<string>>()

  constructor(deps: InstallerDeps) {
    this.#deps = deps
  }

  /** @returns the archive of `node_modules`, or of a whole app that was built @throws MayflyError dependencies_failed with what npm said, sandbox_unavailable */
  async install(wanted: Wanted): Promise<Buffer> {
    const { sandboxes, registry } = this.#deps
    const { files, add, scripts, legacyPeerDeps, build } = wanted
    const named = registry.withNamed(wanted.registries)
    const tool = toolOf(files)
    const spec = await this.#spec(wanted.runtime, tool, named)
    const late = AbortSignal.timeout(LIMITS.installTime.value)
    const app = build === null ? {} : { app: await filesOf(build.folder), run: build.run }
    const body = Buffer.from(JSON.stringify({ tool, files, add, scripts, legacyPeerDeps, registryPath: named.path, ...app }))
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
    if (result.kind === 'error') throw failed(result.errorType === 'Sandbox.Timedout' ? `${tool} took too long` : `${tool} ended with ${result.errorType}`)
    if (result.kind !== 'http') throw failed(`${tool} gave no answer`)
    const most = LIMITS.unzippedCode.value
    const answer = await wholeBody(result, most, () => failed(`the packages are larger than ${most} bytes`))
    if (result.status !== 200) throw failed(saidOf(answer) ?? `${tool} failed and did not say why`)
    return answer
  }

  async #spec(runtime: string, tool: Tool, registry: Registry): Promise<SandboxSpec> {
    const program = this.#programs.get(tool) ?? this.#prepare(tool)
    this.#programs.set(tool, program)
    program.catch(() => this.#programs.delete(tool))
    return buildSpec({
      name: 'install',
      key: `install-${this.#deps.newId()}`,
      runtime,
      codeDir: await program,
      handler: 'install.handler',
      environment: { MAYFLY_URL: '{relay}' },
      memoryMb: MEMORY_MB,
      timeoutMs: LIMITS.installTime.value,
      openRelay: (connection) => registry.accept(connection),
    })
  }

  /** Copies the program to where sandboxes can be given it: on their file system, and read-only. */
  async #prepare(tool: Tool): Promise<string> {
    const { folder, packages, runtimes } = this.#deps
    const named = TOOLS[tool][0] ?? 'npm'
    const { version } = JSON.parse(await readFile(path.join(packages, named, 'package.json'), 'utf8')) as { version: string }
    const own = await readFile(path.join(runtimes, 'installer', 'install.mjs'))
    const at = path.join(folder, `${tool}-${version}-${createHash('sha256').update(own).digest('hex').slice(0, 12)}`)
    if (existsSync(at)) return at
    const beside = `${at}.${this.#deps.newId()}`
    await mkdir(path.join(beside, 'node_modules'), { recursive: true, mode: 0o755 })
    for (const name of [...PACKAGES, ...TOOLS[tool]]) await cp(path.join(packages, name), path.join(beside, 'node_modules', name), { recursive: true })
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

const toolOf = (files: Wanted['files']): Tool =>
  'pnpm-lock.yaml' in files ? 'pnpm' : 'yarn.lock' in files && !files['yarn.lock'].includes(YARN_1) ? 'yarn' : 'npm'

const failed = (why: string) => new MayflyError('dependencies_failed', `the dependencies could not be installed: ${why}`)

/** Its own words are those of whoever wrote the packages. */
function saidOf(answer: Buffer): string | null {
  try {
    const { said } = JSON.parse(answer.toString('utf8')) as { said?: unknown }
    if (typeof said === 'string') return said.replaceAll(/https?:\/\/127\.0\.0\.1:\d+/g, '').slice(0, 4_000)
  } catch {
    // Then it says nothing that can be read.
  }
  return null
}
