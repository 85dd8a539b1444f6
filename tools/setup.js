// The whole set-up, on any Node from 20 on: the pinned Node, then everything else under it. Repeatable; each step
// that is done says nothing when asked to be quiet. All it says goes to stderr, so that stdout stays the program's.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { removeCaches } from './caches.js'
import { installHook } from './git-hook.js'
import { isMade } from './program.mjs'

// Root's functions and databases are run by other users, which read the packages.
process.umask(0o022)
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const quiet = process.argv.includes('--quiet-if-done')
let said = false

const say = (text) => {
  said = true
  process.stderr.write(`${text}\n`)
}
const stop = (text) => {
  process.stderr.write(`${text}\n`)
  process.exit(1)
}

if (Number(process.versions.node.split('.')[0]) < 20) stop(`Mayfly's set-up needs Node 20 or newer; this is ${process.version}.`)
if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch))
  stop(`Mayfly runs on Linux on x64 and arm64; this is ${process.platform} on ${process.arch}.`)

/** Further Nodes for functions, each installed when it is asked for by `--runtime`. */
const RUNTIMES = { 'nodejs22.x': 'node22', 'nodejs26.x': 'node26' }
const runtimes = process.argv.flatMap((arg, i) =>
  arg === '--runtime' ? [process.argv[i + 1] ?? ''] : arg.startsWith('--runtime=') ? [arg.slice('--runtime='.length)] : [],
)
for (const name of runtimes) {
  if (name in RUNTIMES || name === 'nodejs24.x') continue
  stop(
    `--runtime ${name}: there is ${Object.keys(RUNTIMES).join(' and ')} to install. nodejs24.x and provided are part of the set-up; python3.x is the python3 of the system (on Debian and Ubuntu: apt-get install python3).`,
  )
}

/** A Node from the npm registry in a folder of tools/, which names its version. */
function packagedNode(name) {
  const folder = path.join(root, 'tools', name)
  const version = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')).optionalDependencies[`node-linux-${process.arch}`]
  return { folder, version, file: path.join(folder, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node') }
}
const { version: pinned, file: node } = packagedNode('node')

/** Runs a command, showing dots while it works and all that it said when it fails. */
function run(what, command, args, options) {
  return new Promise((resolve) => {
    const startedAt = Date.now()
    said = true
    process.stderr.write(`${what} …`)
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], ...options })
    let output = ''
    const hear = (chunk) => {
      output = (output + chunk).slice(-20_000)
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    const dots = setInterval(() => process.stderr.write('.'), 1000)
    const end = (ok) => {
      clearInterval(dots)
      process.stderr.write(ok ? ` done in ${((Date.now() - startedAt) / 1000).toFixed(1)} s\n` : ' failed\n')
      if (!ok) process.stderr.write(`${output.trim()}\n`)
      resolve(ok)
    }
    child.on('error', (error) => {
      output += error.message
      end(false)
    })
    child.on('close', (code) => end(code === 0))
  })
}

function versionOf(file) {
  try {
    return execFileSync(file, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
      .trim()
      .replace(/^v/, '')
  } catch {
    return null
  }
}

/** npm's own program, so that it can be run by another Node than the one that found it. */
function npmCli() {
  const candidates = [process.env.npm_execpath, path.join(path.dirname(process.execPath), '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js')]
  for (const folder of (process.env.PATH ?? '').split(':')) candidates.push(path.join(folder, '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js'))
  candidates.push('/usr/share/nodejs/npm/bin/npm-cli.js', '/usr/lib/node_modules/npm/bin/npm-cli.js')
  return candidates.find((file) => file?.endsWith('npm-cli.js') && existsSync(file)) ?? null
}

const npm = npmCli()
if (npm === null) stop('npm was not found. Install it beside Node (on Debian and Ubuntu: apt-get install npm).')

// Settings that an outer npm hands to its scripts would speak of another folder here.
const cleanEnv = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_(config_(local_)?prefix|lifecycle|package|command|config_json)/i.test(name)),
)

const asRoot = process.getuid() === 0
const hasApt = existsSync('/usr/bin/apt-get')
let before
/** What stands before a command that takes root; null where this user may run none without a password. */
function sudo() {
  if (before === undefined) before = asRoot ? [] : canSudo() ? ['sudo', '-n'] : null
  return before
}
const installing = (names) => `apt-get install -y --no-install-recommends ${names.join(' ')}`

/** Whether apt knows any package. */
const isListed = () => existsSync('/var/lib/apt/lists') && readdirSync('/var/lib/apt/lists').some((name) => name.includes('Packages'))

function apt(what, args) {
  // Another may be installing too, as the tests do.
  const [program, ...rest] = [...sudo(), 'apt-get', '-o', 'DPkg::Lock::Timeout=120', ...args]
  return run(what, program, rest, { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } })
}
const updateApt = () => apt('Package lists of apt', ['update', '-qq'])

/** @returns whether they are installed now */
async function installByApt(what, names) {
  const listed = isListed()
  if (!listed) await updateApt()
  const args = ['install', '-y', '--no-install-recommends', ...names]
  if (await apt(what, args)) return true
  return listed && (await updateApt()) && (await apt(what, args))
}

/** What a Node is linked to that not every system has, and Debian's package of it. */
const LIBRARIES = { 'libatomic.so.1': 'libatomic1' }
const libraryLackedBy = (file) => /loading shared libraries: ([^:\s]+)/.exec(spawnSync(file, ['--version'], { encoding: 'utf8' }).stderr)?.[1] ?? null

async function installNode(name, what, again) {
  const { folder, version, file } = packagedNode(name)
  if (versionOf(file) === version) return
  const ok = await run(`Node ${version}`, process.execPath, [npm, 'ci', '--no-audit', '--no-fund'], { cwd: folder, env: cleanEnv })
  const library = ok ? libraryLackedBy(file) : null
  if (library !== null) {
    const from = LIBRARIES[library]
    if (from === undefined || !hasApt || sudo() === null || !(await installByApt(`For it: ${from}`, [from]))) {
      const todo = from === undefined ? 'Install it' : `Install it (on Debian and Ubuntu: ${asRoot ? '' : 'sudo '}${installing([from])})`
      stop(`${what} ${version} needs ${library}, which this system lacks. ${todo}, and run \`${again}\` again.`)
    }
  }
  if (!ok || versionOf(file) !== version)
    stop(`${what} ${version} could not be installed from the npm registry; see above. Run \`${again}\` again when that is mended.`)
}

await installNode('node', 'The pinned Node', 'npm run setup')
for (const name of runtimes) if (name in RUNTIMES) await installNode(RUNTIMES[name], `The Node of ${name},`, `npm run setup -- --runtime ${name}`)

const lock = createHash('sha256')
  .update(readFileSync(path.join(root, 'package-lock.json')))
  .update(pinned)
  .digest('hex')
const stamp = path.join(root, 'node_modules', '.mayfly-setup')
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== lock) {
  removeCaches(root)
  // Under the pinned Node: npm chooses packages by the Node that runs it.
  const env = { ...cleanEnv, PATH: `${path.dirname(node)}:${process.env.PATH}` }
  if (!(await run('Packages', node, [npm, 'ci', '--no-audit', '--no-fund'], { env })))
    stop('The packages could not be installed; see above. Run `npm run setup` again when that is mended.')
  writeFileSync(stamp, lock)
}

await consolePages(lock)
// Without it the node runs by its sources, and starts more slowly.
if (!isMade(root) || !isMade(root, 'commands')) await run('Program', node, [path.join(root, 'tools', 'program.mjs')], {})
await sandboxRuntime()
// For who works on Mayfly: a start alone leaves git as it is.
if (!quiet && installHook(root, process.env)) say('git checks each commit by tools/hooks/pre-commit.')
if (!quiet || said) say('Set-up is complete.')

/** The console's pages, which the node serves, are built from what is here now; a look says whether they are. */
async function consolePages(packages) {
  const hash = createHash('sha256').update(packages)
  const pages = readdirSync(path.join(root, 'console'), { recursive: true })
    .map((file) => path.join('console', file))
    .filter((file) => !file.startsWith(path.join('console', 'dist')) && statSync(path.join(root, file)).isFile())
  for (const file of [...pages, path.join('client', 'client.ts'), path.join('tools', 'console.ts')].sort())
    hash.update(`${file}\0`).update(readFileSync(path.join(root, file)))
  const made = hash.digest('hex')
  const stamp = path.join(root, 'console', 'dist', '.made-of')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === made) return
  if (!(await run('Console', node, ['--disable-warning=ExperimentalWarning', path.join(root, 'tools', 'console.ts')], {})))
    stop('The pages of the console could not be built; see above. Run `npm run setup` again when that is mended.')
  writeFileSync(stamp, made)
}

/** crun, runc and what makes networks for root, bubblewrap and slirp4netns for who is not: where sudo needs no password either may start the node. */
async function sandboxRuntime() {
  const has = (program) =>
    ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].some((folder) => existsSync(path.join(folder, program)))
  const wanted = {
    ...(sudo() === null ? {} : { runc: 'runc', crun: 'crun' }),
    nft: 'nftables',
    ip: 'iproute2',
    ...(asRoot ? {} : { bwrap: 'bubblewrap', slirp4netns: 'slirp4netns' }),
  }
  const lacking = Object.keys(wanted).flatMap((program) => (has(program) ? [] : [wanted[program]]))
  if (lacking.length === 0) return
  if (hasApt && sudo() !== null && !isListed()) await updateApt()
  // Sandboxes are started by runc where there is no crun, and not every distribution has it.
  const missing = lacking.filter((name) => name !== 'crun' || (hasApt && knownToApt(name)))
  if (missing.length === 0) return
  const named = missing.join(', ')
  const until = missing.some((name) => ['runc', 'bubblewrap'].includes(name))
    ? 'Until then functions cannot run isolated.'
    : missing.some((name) => name !== 'crun')
      ? 'Until then functions have no network.'
      : 'Until then sandboxes are started by runc, which takes longer.'
  const command = installing(missing)
  if (!hasApt) {
    say(`For sandboxes ${named} is missing and there is no apt here: install it with the package manager of this system. ${until}`)
    return
  }
  if (sudo() === null) {
    say(`For sandboxes ${named} is missing, and this user may not install it without a password. Type: sudo ${command}\n${until}`)
    return
  }
  const ok = await installByApt(`For sandboxes: ${named}`, missing)
  if (!ok) say(`For sandboxes ${named} could not be installed; see above. Type: ${asRoot ? '' : 'sudo '}${command}\n${until}`)
}

function knownToApt(name) {
  try {
    return execFileSync('apt-cache', ['show', name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }) !== ''
  } catch {
    return false
  }
}

function canSudo() {
  try {
    execFileSync('sudo', ['-n', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
