import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import type { Connection } from '../src/backends/database/database.ts'
import { install, load } from './installed.ts'
import { pause } from './measure.ts'

/** Another queue that answers once an entry is on disk. */
export interface QueuePeer {
  readonly add: (payload: object) => Promise<unknown>
  readonly stop: () => Promise<unknown>
}

/** As many sessions as there are callers, so that their commits can share a sync of the disk. */
export const CALLERS = 32

interface Pool {
  on(event: 'error', heard: () => void): void
  on(event: 'connect', heard: (client: { on(event: 'error', heard: () => void): void }) => void): void
  query(text: string): Promise<unknown>
  end(): Promise<void>
}

interface GraphileWorker {
  makeWorkerUtils(options: { pgPool: Pool }): Promise<GraphileUtils>
  run(options: { pgPool: Pool; concurrency: number; noHandleSignals: true; logger: unknown; taskList: Readonly<Record<string, () => void>> }): Promise<{
    stop(): Promise<void>
  }>
  Logger: new (factory: () => () => void) => unknown
}
interface GraphileUtils {
  addJob(task: string, payload: object): Promise<unknown>
  migrate(): Promise<void>
  release(): Promise<void>
}

export interface Graphile extends QueuePeer {
  /** Lets a worker run what stands in its queue; `began` is called as each job's own code would be. */
  readonly work: (concurrency: number, began: () => void) => Promise<() => Promise<void>>
  readonly empty: () => Promise<unknown>
}

export async function graphileWorker(connection: Connection, kept: string): Promise<Graphile> {
  const prefix = install(kept, 'graphile-worker', '0.18.0')
  const { makeWorkerUtils, run, Logger } = load(prefix, 'graphile-worker') as GraphileWorker
  const { Pool } = load(prefix, 'pg') as { Pool: new (options: object) => Pool }
  const pgPool = new Pool({ ...connection, max: CALLERS })
  pgPool.on('error', () => {})
  pgPool.on('connect', (client) => client.on('error', () => {}))
  const utils = await makeWorkerUtils({ pgPool })
  await utils.migrate()
  return {
    add: (payload) => utils.addJob('job', payload),
    work: async (concurrency, began) => {
      const runner = await run({ pgPool, concurrency, noHandleSignals: true, logger: new Logger(() => () => {}), taskList: { job: began } })
      return () => runner.stop()
    },
    empty: () => pgPool.query('truncate graphile_worker._private_jobs'),
    stop: async () => {
      await utils.release()
      await pgPool.end()
    },
  }
}

interface Boss {
  on(event: 'error', heard: (error: Error) => void): void
  start(): Promise<unknown>
  createQueue(name: string): Promise<void>
  send(name: string, payload: object): Promise<string | null>
  stop(options: { graceful: false }): Promise<void>
}

export async function pgBoss(connection: Connection, kept: string): Promise<QueuePeer> {
  const { PgBoss } = load(install(kept, 'pg-boss', '12.38.0'), 'pg-boss') as { PgBoss: new (options: object) => Boss }
  const boss = new PgBoss({ ...connection, max: CALLERS, supervise: false, schedule: false })
  boss.on('error', (error) => process.stderr.write(`pg-boss: ${error.message}\n`))
  await boss.start()
  await boss.createQueue('job')
  return { add: (payload) => boss.send('job', payload), stop: () => boss.stop({ graceful: false }) }
}

interface Bull {
  add(name: string, payload: object): Promise<unknown>
  waitUntilReady(): Promise<unknown>
  close(): Promise<void>
}

/** On a Redis of its own that syncs each write. @throws Error without Debian's redis-server */
export async function bullmq(folder: string, kept: string): Promise<QueuePeer> {
  try {
    execFileSync('which', ['redis-server'])
  } catch {
    throw new Error("BullMQ takes Debian's redis-server (apt-get install redis-server)")
  }
  const { Queue } = createRequire(path.join(install(kept, 'bullmq', '6.7.0', ['ioredis@5.11.1']), 'package.json'))('bullmq') as {
    Queue: new (name: string, options: object) => Bull
  }
  const dir = mkdtempSync(path.join(folder, 'redis-'))
  const socket = path.join(dir, 'redis.sock')
  const args = ['--port', '0', '--unixsocket', socket, '--dir', dir, '--appendonly', 'yes', '--appendfsync', 'always', '--save', '']
  const redis = spawn('redis-server', args, { stdio: 'ignore' })
  for (let tries = 0; !existsSync(socket); tries++) {
    if (tries > 200 || redis.exitCode !== null) throw new Error('redis-server did not start')
    await pause(50)
  }
  const queue = new Queue('job', { connection: { path: socket, maxRetriesPerRequest: null } })
  await queue.waitUntilReady()
  return {
    add: (payload) => queue.add('job', payload),
    stop: async () => {
      await queue.close()
      redis.kill()
    },
  }
}
