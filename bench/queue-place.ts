import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Connection } from '../src/backends/database/database.ts'
import { PostgresDatabase } from '../src/backends/database/postgres.ts'
import type { NewEntry } from '../src/invoke/store.ts'
import type { Queue } from '../src/invoke/queue.ts'
import { makeQueue } from '../src/invoke/queues-fixture.ts'
import { uuidv7 } from '../src/lib/ids.ts'
import { controlOf } from './control.ts'
import { mayfly, type RunningMayfly, startMayfly } from '../test/acceptance/harness.ts'

export const EVENT = { order: 4711, customer: 'c-1042', lines: [{ article: 'a-7', count: 3 }], total: 59.85 }
/** When its own code begins, by the clock that all processes of the machine share. */
const WORKER = 'export const handler = async () => ({ began: Number(process.hrtime.bigint()) / 1e6 })'
export const now = (): number => Number(process.hrtime.bigint()) / 1e6

/** A node, its control database, and a queue on that database in this process, which runs nothing. */
export interface QueuePlace {
  readonly folder: string
  /** Where peers are kept from run to run. */
  readonly kept: string
  readonly node: RunningMayfly
  readonly connection: Connection
  readonly control: PostgresDatabase
  readonly queue: Queue
  readonly operatorToken: string
  /** An event for `intake`, whose entries stay where they are, or for one that runs. */
  readonly entryOf: (name: string) => NewEntry
  readonly manage: (method: string, route: string, body?: object) => Promise<unknown>
  readonly pgbench: (name: string, script: string, seconds: number) => number
  readonly close: () => Promise<void>
}

export async function openQueuePlace(): Promise<QueuePlace> {
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
  const kept = path.join(tmpdir(), 'mayfly-bench-peers')
  mkdirSync(kept, { recursive: true })
  const node = await startMayfly(path.join(folder, 'data'))
  for (const [name, definition] of [
    ['intake', {}],
    ['worker', {}],
    ['telling', { async: { keepResult: 3_600 } }],
    ['batched', { triggers: [{ queue: { name: 'bench', batchSize: 10 } }] }],
  ] as const) {
    const at = path.join(folder, name)
    mkdirSync(at)
    writeFileSync(path.join(at, 'index.mjs'), WORKER)
    writeFileSync(path.join(at, 'mayfly.json'), JSON.stringify({ name, ...definition }))
    const deployed = mayfly(['deploy', at, '--data', node.data])
    if (deployed.code !== 0) throw new Error(deployed.stderr)
  }
  const connection = controlOf(node.data)
  const control = new PostgresDatabase(connection, { max: 8, statementTimeoutMs: 0 })
  const project = node.ready.project.ref
  const ids = new Map(
    (
      await control.sql<{
        id: string
        name: string
      }>`select function.id, function.name from mayfly.function join mayfly.project on project.id = project_id where ref = ${project}`
    ).map(({ id, name }) => [name, id]),
  )
  const { operatorToken } = JSON.parse(readFileSync(path.join(node.data, 'run.json'), 'utf8')) as { operatorToken: string }
  const manage = async (method: string, route: string, body?: object) => {
    const headers = { authorization: `Bearer ${operatorToken}`, 'content-type': 'application/json' }
    const answer = await fetch(`${node.ready.url}/api/v1/projects/${project}${route}`, { method, headers, ...(body && { body: JSON.stringify(body) }) })
    if (!answer.ok) throw new Error(`${route}: ${answer.status} ${await answer.text()}`)
    return await answer.json()
  }
  await manage('POST', '/functions/intake/pause')
  const payload = Buffer.from(JSON.stringify(EVENT))
  const newId = () => uuidv7(Date.now())
  return {
    folder,
    kept,
    node,
    connection,
    control,
    queue: makeQueue(control, newId),
    operatorToken,
    manage,
    entryOf: (functionName) => ({
      id: newId(),
      project,
      functionId: ids.get(functionName) as string,
      functionName,
      traceId: null,
      clientContext: null,
      depth: 0,
      payload,
    }),
    pgbench: (name, script, seconds) => {
      const file = path.join(folder, `${name}.sql`)
      writeFileSync(file, script)
      const args = [
        '-h',
        connection.host,
        '-U',
        connection.user,
        '-n',
        '-M',
        'prepared',
        '-c',
        '32',
        '-j',
        '1',
        '-T',
        String(seconds),
        '-f',
        file,
        connection.database,
      ]
      const told = execFileSync('pgbench', args, { encoding: 'utf8', env: { ...process.env, PGPASSWORD: connection.password } })
      const rate = Number(/tps = ([\d.]+)/.exec(told)?.[1])
      // On a busy machine a short turn may end before the first.
      if (!(rate > 0)) throw new Error(`pgbench came to no transaction in ${seconds} s`)
      return rate
    },
    close: async () => {
      await control[Symbol.asyncDispose]()
      await node.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
