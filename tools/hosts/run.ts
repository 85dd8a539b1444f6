import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { ROOT } from '../sources.ts'
import { makeDisk, makeImage, RELEASES } from './image.ts'
import { codeIn, jobOf, quoted, WAYS } from './job.ts'
import { CLOCKS, commandOf, isAccelerated, runMachine } from './machine.ts'

// npm run test:host -- [--release bookworm|trixie] [--as root|container|user|delegated] NAME…: test files by their names on a Debian of its
// own: a virtual machine with systemd and control groups of the second version alone; `--only PATTERN` takes those tests alone whose
// names, with their suites', match. `--run 'COMMAND'` runs that there instead.
const say = (line: string) => void process.stderr.write(`${line}\n`)
const stop = (line: string): never => {
  say(line)
  process.exit(2)
}
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    release: { type: 'string', default: 'bookworm' },
    as: { type: 'string', default: 'root' },
    run: { type: 'string' },
    only: { type: 'string' },
    'memory-mb': { type: 'string', default: '4096' },
    processors: { type: 'string' },
    clock: { type: 'string' },
    minutes: { type: 'string', default: '60' },
  },
})
const release = RELEASES.find((one) => one === values.release) ?? stop(`--release is one of ${RELEASES.join(', ')}`)
const way = WAYS.find((one) => one === values.as) ?? stop(`--as is one of ${WAYS.join(', ')}`)
if ((values.run === undefined) === (positionals.length === 0)) stop('Name test files, such as `conformance`, or a command: --run COMMAND')

/** The program, and the package of Debian that has it. */
const PROGRAMS = { 'qemu-system-x86_64': 'qemu-system-x86', debootstrap: 'debootstrap', 'mkfs.ext4': 'e2fsprogs' }
if (process.arch !== 'x64') stop(`test:host knows hosts of x64 alone; this is ${process.arch}.`)
if (process.getuid?.() !== 0) stop('test:host puts a Debian together, which takes root.')
const isThere = (program: string) => ['/usr/bin', '/usr/sbin'].some((folder) => existsSync(path.join(folder, program)))
const missing = Object.entries(PROGRAMS).flatMap(([program, name]) => (isThere(program) ? [] : [name]))
if (missing.length > 0) stop(`test:host needs ${missing.join(', ')}: apt-get install -y --no-install-recommends ${missing.join(' ')}`)
const accelerated = isAccelerated(mayUse('/dev/kvm'), readFileSync('/proc/cpuinfo', 'latin1'))
if (!accelerated) say('KVM cannot be used here: each instruction is emulated, which takes ten to seventy times as long.')
// What is late by this machine's clock because it is emulated is in time by its own.
const asked = values.clock ?? (accelerated || Number(values.processors ?? 1) > 1 ? 'machine' : 'instructions')
const clock = CLOCKS.find((one) => one === asked) ?? stop(`--clock is one of ${CLOCKS.join(', ')}`)
const processors = Number(values.processors ?? (clock === 'instructions' ? 1 : 2))
if (clock === 'instructions' && (accelerated || processors > 1)) stop('--clock instructions goes with one processor (--processors 1), and not with KVM.')
if (!accelerated && clock === 'machine') say('Tests that wait too short fail by this clock.')

const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-host-'))
const ending = new AbortController()
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => ending.abort())
try {
  const image = makeImage(release, path.join(ROOT, 'node_modules', '.cache', 'mayfly-hosts'), say)
  const log = path.join(folder, 'log')
  const work = path.join(folder, 'work')
  const clone = path.join(work, 'mayfly')
  mkdirSync(clone, { recursive: true })
  // What is worked on, with its packages, and no other host.
  const leftOut = ['.git', './.mayfly', './node_modules/.cache/mayfly-hosts']
  const pack = ['-C', ROOT, ...leftOut.map((name) => `--exclude=${name}`), '-cf', '-', '.']
  execFileSync('sh', ['-c', 'to=$1; shift; tar "$@" | tar -C "$to" -xf -', 'sh', clone, ...pack])
  const which = [...(values.only === undefined ? [] : ['--only', values.only]), '--', ...positionals].map(quoted).join(' ')
  const command = values.run ?? `npm run setup --silent && node bin/mayfly.js --node tools/hosts/inside.ts ${which}`
  writeFileSync(path.join(work, 'job.sh'), jobOf(way, command))
  makeDisk(work, `${work}.ext4`, 4_096, 'job', log)
  rmSync(work, { recursive: true })
  const hardware = { memoryMb: Number(values['memory-mb']), processors, accelerated, clock }
  const signal = AbortSignal.any([ending.signal, AbortSignal.timeout(Number(values.minutes) * 60_000)])
  const serial = path.join(ROOT, 'node_modules', '.cache', 'mayfly-hosts', `${release}.console.log`)
  let last = ''
  await runMachine(commandOf(image, `${work}.ext4`, serial, hardware), signal, (text) => {
    process.stdout.write(text)
    last = (last + text).slice(-1_000)
  })
  const code = codeIn(last)
  if (code === null) say(`The host ended before its job did; ${serial} has what its kernel said.`)
  process.exitCode = code ?? 1
} catch (error) {
  say(
    ending.signal.aborted
      ? 'The host was stopped.'
      : error instanceof Error && error.name === 'AbortError'
        ? `${values.minutes} minutes were over (--minutes).`
        : String(error),
  )
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function mayUse(file: string): boolean {
  try {
    accessSync(file, constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}
