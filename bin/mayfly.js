#!/usr/bin/env node
// Hands over to the pinned Node, which runs the TypeScript sources as they are.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { availableParallelism, constants } from 'node:os'
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
const target = args[0] === '--node' ? args.slice(1) : OF_THE_NODE.has(args[0] ?? '') ? [programOf(root), ...args] : [path.join(root, 'cli', 'main.ts'), ...args]

const env = { ...process.env, UV_THREADPOOL_SIZE: process.env.UV_THREADPOOL_SIZE ?? String(Math.max(16, 4 * availableParallelism())) }
// Types are taken away and modules compiled once for each user and Node, not at every start; what is started from there does without.
const compiled = ['--import', path.join(root, 'tools', 'compiled.mjs')]
// Lines in stacks are those of the sources.
const maps = target[0]?.endsWith('.mjs') ? ['--enable-source-maps'] : []
let command = [node, '--disable-warning=ExperimentalWarning', ...maps, ...compiled, ...target]
const wantsHelp = args.includes('--help') || args.includes('-h')
if (args[0] === 'up' && !wantsHelp && process.getuid() !== 0 && ['auto', 'crun', 'runc', 'gvisor'].includes(sandboxOf(args)) && canSudo()) {
  process.stderr.write('Functions are isolated by runc, which takes root: the node is started with sudo.\n')
  const kept = Object.keys(env).filter((name) => name.startsWith('MAYFLY_') || name === 'UV_THREADPOOL_SIZE' || name === 'HOME' || name === 'XDG_STATE_HOME')
  command = ['sudo', '-n', `--preserve-env=${kept.join(',')}`, ...command]
}

const child = spawn(command[0], command.slice(1), { stdio: 'inherit', env })
// A signal may reach both of us or only one: it is passed on, and we end after the node.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('error', (error) => {
  process.stderr.write(`The pinned Node could not be started: ${error.message}\n`)
  process.exit(1)
})
child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)))

function sandboxOf(all) {
  const at = all.findIndex((arg) => arg === '--sandbox' || arg.startsWith('--sandbox='))
  if (at === -1) return process.env.MAYFLY_SANDBOX ?? 'auto'
  return all[at].includes('=') ? all[at].split('=')[1] : all[at + 1]
}

function canSudo() {
  try {
    execFileSync('sudo', ['-n', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
