import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { mayfly, ROOT, startMayfly } from '../test/acceptance/harness.ts'
import { lockOf, startRegistry } from '../test/acceptance/registry-fixture.ts'
import { show, timed } from './measure.ts'

// How long an edit takes to be answered under `mayfly dev`, how long a deploy of the same takes, and what `dev` holds of
// memory after hundreds of edits. Usage: npm run bench:dev [edits, 100 when not said] [typescript, google or azure]

const EDITS = Number(process.argv[2] ?? 100)
const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
const cache = path.join(ROOT, 'node_modules', '.cache')
mkdirSync(cache, { recursive: true })
/** Below the checkout, whose packages it uses. */
const app = mkdtempSync(path.join(cache, 'bench-dev-'))
const write = (name: string, content: string) => {
  mkdirSync(path.dirname(path.join(app, name)), { recursive: true })
  writeFileSync(path.join(app, name), content)
}
const packageJson = (name: string, dependencies: Record<string, string>) => {
  const own = { name: 'edited', version: '1.0.0', main: name, dependencies }
  write('package.json', JSON.stringify(own))
  write('package-lock.json', lockOf(own))
}

interface Kind {
  readonly file: string
  readonly code: (n: number) => string
  /** Writes what stands beside it. */
  readonly begin: () => void
  readonly address: (deployed: Record<string, unknown>) => Promise<string>
}
const atFunction = async (deployed: Record<string, unknown>) => `${deployed.base}/functions/v1/edited`
const KINDS: Record<string, Kind> = {
  typescript: {
    file: 'index.ts',
    code: (n) => `import { z } from 'zod'
import { parseEnv } from './names.ts'
const Query = z.object({ name: z.string().default('world') })
export default { fetch: (request: Request): Response => Response.json({ n: ${n}, ...Query.parse(parseEnv(new URL(request.url))) }) }
`,
    begin: () => {
      write('names.ts', 'export const parseEnv = (url: URL): Record<string, string> => Object.fromEntries(url.searchParams)\n')
      write('mayfly.json', JSON.stringify({ name: 'edited' }))
    },
    address: atFunction,
  },
  google: {
    file: 'index.js',
    code: (n) => `const functions = require('@google-cloud/functions-framework')
functions.http('edited', (req, res) => res.json({ n: ${n} }))
`,
    begin: () => {
      packageJson('index.js', { '@google-cloud/functions-framework': '^5.0.0' })
      write('mayfly.json', JSON.stringify({ name: 'edited', framework: 'google', entryPoint: 'edited' }))
    },
    address: atFunction,
  },
  azure: {
    file: 'src/functions/edited.js',
    code: (n) => `const { app } = require('@azure/functions')
app.http('edited', { methods: ['GET'], authLevel: 'anonymous', handler: async () => ({ jsonBody: { n: ${n} } }) })
`,
    begin: () => {
      packageJson('src/functions/*.js', { '@azure/functions': '^4.0.0' })
      write('host.json', JSON.stringify({ version: '2.0' }))
    },
    address: async (deployed) => `${(deployed.urls as { url: string }[])[0]?.url}api/edited`,
  },
}
const kind = KINDS[process.argv[3] ?? 'typescript']
if (!kind) throw new Error(`there are ${Object.keys(KINDS).join(', ')}`)
const { code, file, begin, address } = kind
begin()
write(file, code(0))

process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)
await using registry = await startRegistry()
const node = await startMayfly(path.join(folder, 'data'), ['--npm-registry', registry.url])
const env = { ...process.env, XDG_STATE_HOME: path.join(folder, 'state'), XDG_CONFIG_HOME: path.join(folder, 'config') }
const dev = spawn(process.execPath, [path.join(ROOT, 'bin', 'mayfly.js'), 'dev', app, '--json'], { env, stdio: ['ignore', 'pipe', 'inherit'] })
const lines = createInterface({ input: dev.stdout })[Symbol.asyncIterator]()
const event = async (kind: string): Promise<Record<string, unknown>> => {
  for (;;) {
    const { value, done } = await lines.next()
    if (done) throw new Error('dev ended')
    const said = JSON.parse(value as string) as Record<string, unknown>
    if (said.event === 'failed') throw new Error(String(said.message))
    if (said.event === kind) return said
  }
}
try {
  const open = await event('open')
  const deployed = await event('deployed')
  const at = await address(deployed)
  const pid = Number(/"pid":(\d+)/.exec(readFileSync(path.join(folder, 'state', 'mayfly', 'dev', `${open.ref}.json`), 'utf8'))?.[1])
  const rssMb = () => Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024)
  const call = async () => {
    const answer = await fetch(at, { headers: { apikey: String(deployed.key) } })
    return ((await answer.json()) as { n: number }).n
  }
  const until: number[] = []
  const answered: number[] = []
  const memory: string[] = []
  for (let n = 1; n <= EDITS; n++) {
    const from = performance.now()
    write(file, code(n))
    await event('deployed')
    until.push(performance.now() - from)
    if ((await call()) !== n) throw new Error('the answer is not of this edit')
    answered.push(performance.now() - from)
    if (n === 1 || n % Math.max(1, Math.round(EDITS / 5)) === 0) memory.push(`${n}: ${rssMb()} MB`)
  }
  show('an edit is deployed', until)
  show('an edit is answered', answered)
  process.stdout.write(`memory of dev after so many edits: ${memory.join(', ')}\n`)
  const same: number[] = []
  const deploy = () => {
    const { code: exit, stderr } = mayfly(['deploy', app], env as Record<string, string>)
    if (exit !== 0) throw new Error(stderr)
  }
  deploy()
  for (let n = 0; n < 15; n++) same.push(await timed(async () => deploy()))
  show('deploy of what is there already, a process of its own', same)
} finally {
  dev.kill('SIGINT')
  await new Promise((resolve) => dev.once('exit', resolve))
  await node.stop()
  rmSync(folder, { recursive: true, force: true })
  rmSync(app, { recursive: true, force: true })
}
