#!/usr/bin/env node
// Hands over to the pinned Node, which runs what was made of the sources at set-up, or the sources as they are. A command takes
// as long as what is loaded here, twice over where this is another Node: so that is next to nothing.
import { existsSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { programOf } from '../tools/program.mjs'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const node = path.join(root, 'tools', 'node', 'node_modules', `node-linux-${process.arch}`, 'bin', 'node')
const args = process.argv.slice(2)

if (!existsSync(node) || !existsSync(path.join(root, 'node_modules', '.mayfly-setup'))) {
  process.stderr.write('This checkout is not set up yet. Run `npm run setup` in it first.\n')
  process.exit(1)
}

// The node itself answers these; everything else is a client of it.
const OF_THE_NODE = new Set(['up', 'config', 'doctor'])
const isCommand = args[0] !== '--node' && !OF_THE_NODE.has(args[0] ?? '')
const target = args[0] === '--node' ? args.slice(1) : [programOf(root, isCommand ? 'commands' : 'node'), ...args]
const isMade = target[0]?.endsWith('.mjs') ?? false
const cache = path.join(root, 'node_modules', '.cache', 'mayfly')

if (isCommand && isMade && process.execPath === node) {
  // This is the Node that runs it.
  process.getBuiltinModule('node:module').enableCompileCache(cache)
  process.argv[1] = target[0]
  await import(target[0])
} else await handOver()

async function handOver() {
  const env = { ...process.env }
  // Types are taken away and modules compiled once for each user and Node, not at every start; what is started from there does without.
  const compiled = ['--import', path.join(root, 'tools', 'compiled.mjs')]
  // Lines in stacks are those of the sources.
  const maps = isMade && !isCommand ? ['--enable-source-maps'] : []
  if (!isCommand) {
    const { availableParallelism } = await import('node:os')
    env.UV_THREADPOOL_SIZE ??= String(Math.max(16, 4 * availableParallelism()))
  }
  let command = [node, '--disable-warning=ExperimentalWarning', ...maps, ...compiled, ...target]
  if (await takesRoot()) {
    process.stderr.write('Functions are isolated by crun or runc, which takes root: the node is started with sudo.\n')
    const kept = Object.keys(env).filter(
      (name) => name.startsWith('MAYFLY_') || ['UV_THREADPOOL_SIZE', 'HOME', 'XDG_STATE_HOME', 'NODE_EXTRA_CA_CERTS'].includes(name),
    )
    command = ['sudo', '-n', `--preserve-env=${kept.join(',')}`, ...command]
  }
  await run(command, env)
}

async function run(command, env) {
  const { spawn } = await import('node:child_process')
  const child = spawn(command[0], command.slice(1), { stdio: 'inherit', env })
  // A signal may reach both of us or only one: it is passed on, and we end after the node.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => {
    process.stderr.write(`The pinned Node could not be started: ${error.message}\n`)
    process.exit(1)
  })
  const { constants } = await import('node:os')
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)))
}

async function takesRoot() {
  if (args[0] !== 'up' || args.includes('--help') || args.includes('-h') || process.getuid() === 0) return false
  if (!['auto', 'crun', 'runc', 'gvisor'].includes(sandboxOf(args))) return false
  const { execFileSync } = await import('node:child_process')
  try {
    execFileSync('sudo', ['-n', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function sandboxOf(all) {
  const at = all.findIndex((arg) => arg === '--sandbox' || arg.startsWith('--sandbox='))
  if (at === -1) return process.env.MAYFLY_SANDBOX ?? 'auto'
  return all[at].includes('=') ? all[at].split('=')[1] : all[at + 1]
}
