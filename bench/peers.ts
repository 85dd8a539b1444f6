import { execFileSync, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'

/** Another server that answers a hello, each on a port of its own. */
export interface Peer {
  readonly url: string
  readonly kill: () => void
}

/** Its hello, in the folder. */
export function functionsFramework(folder: string): Peer {
  const peer = path.join(folder, 'framework')
  execFileSync('mkdir', ['-p', peer])
  writeFileSync(path.join(peer, 'index.js'), "exports.hello = (req, res) => res.json('hello')")
  const child = spawn(process.execPath, ['node_modules/.bin/functions-framework', '--source', peer, '--target', 'hello', '--port', '18099'], {
    stdio: 'ignore',
  })
  return { url: 'http://127.0.0.1:18099/', kill: () => child.kill() }
}

const WORKER = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (modules = [(name = "worker", esModule = "export default { async fetch() { return Response.json('hello') } }")], compatibilityDate = "2025-01-01"))],
  sockets = [(name = "http", address = "127.0.0.1:18098", http = (), service = "main")]
);`

/** Null where npm has none for this machine. */
export function workerd(folder: string): Peer | null {
  const name = `@cloudflare/workerd-linux-${process.arch === 'arm64' ? 'arm64' : '64'}`
  try {
    execFileSync('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', folder, name], { stdio: 'ignore' })
  } catch {
    return null
  }
  const config = path.join(folder, 'config.capnp')
  writeFileSync(config, WORKER)
  const child = spawn(path.join(folder, 'node_modules', name, 'bin', 'workerd'), ['serve', config], { stdio: 'ignore' })
  return { url: 'http://127.0.0.1:18098/', kill: () => child.kill() }
}
