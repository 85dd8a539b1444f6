import { readFileSync } from 'node:fs'
import {
  CreateFunctionCommand,
  GetFunctionCommand,
  InvokeCommand,
  type LambdaClient,
  ListFunctionsCommand,
  waitUntilFunctionActiveV2,
} from '@aws-sdk/client-lambda'
import { controlOf } from './control.ts'
import { pause, show, timed } from './measure.ts'
import { PostgresDatabase } from '../src/backends/database/postgres.ts'
import { awsOf } from '../test/acceptance/aws.ts'
import { ROLE, type RunningMayfly, startMayfly, zipOf } from '../test/acceptance/harness.ts'

const FEW = 10
const ROUNDS = 300
const NOT_COUNTED = 20
const STARTS = 3

/**
 * What lists, a function's description and a warm call cost beside 10 functions, and beside `many` (10,000): one node of
 * each, asked in turn, so that what else the machine does falls on both. Ten functions of each are made as users make
 * them; the others are rows in the control database, each a function with a version of its own and the code of the first.
 */
export async function list(folder: string, many: number): Promise<void> {
  const small = await startMayfly(`${folder}/few`)
  const large = await startMayfly(`${folder}/many`)
  const [few, full] = [awsOf(small.ready), awsOf(large.ready)]
  await make(few)
  await make(full)
  process.stdout.write(`${many - FEW} more functions were made in ${((await timed(() => copy(large, many))) / 1000).toFixed(1)} s\n`)
  const pageBehind = (Marker: string | undefined, MaxItems: number) => async (aws: LambdaClient) => {
    const { Functions } = await aws.send(new ListFunctionsCommand({ Marker, MaxItems }))
    if (Functions?.length !== MaxItems) throw new Error(`a page of ${Functions?.length}, not ${MaxItems}`)
  }
  // A page in the midst needs functions behind it: five of each ten.
  const midst = async (aws: LambdaClient, name: string) => {
    let marker: string | undefined
    for (;;) {
      const page = await aws.send(new ListFunctionsCommand({ Marker: marker, MaxItems: 5 }))
      if (page.Functions?.some(({ FunctionName }) => FunctionName === name)) return page.NextMarker as string
      marker = page.NextMarker
    }
  }
  const markers = new Map([
    [few, await midst(few, 'f-4')],
    [full, await midst(full, 'f-1019')],
  ])
  for (const [what, ask] of [
    [`the first page of ${FEW}`, pageBehind(undefined, FEW)],
    ['a page of 5 behind a marker', (aws: LambdaClient) => pageBehind(markers.get(aws), 5)(aws)],
    ['GetFunction', (aws: LambdaClient) => aws.send(new GetFunctionCommand({ FunctionName: 'f-7' }))],
    ['a warm call', (aws: LambdaClient) => aws.send(new InvokeCommand({ FunctionName: 'f-0' }))],
  ] as const) {
    const times: [number[], number[]] = [[], []]
    for (let round = 0; round < ROUNDS + NOT_COUNTED; round++) {
      // Who is asked second finds the processor as the first left it: they change places.
      const turn = round % 2 === 0 ? [0, 1] : [1, 0]
      for (const at of turn) {
        const took = await timed(() => ask(at === 0 ? few : full))
        if (round >= NOT_COUNTED) times[at]?.push(took)
      }
    }
    const base = show(`${what}, of ${FEW}`, times[0])
    const beside = show(`${what}, of ${many}`, times[1])
    process.stdout.write(`→ ${what}: ${many} ÷ ${FEW}: p50 ${(beside.p50 / base.p50).toFixed(2)}, p99 ${(beside.p99 / base.p99).toFixed(2)}  (aim 1.2)\n`)
  }
  few.destroy()
  full.destroy()
  await again([small, large], many)
}

/** What starts and an idle node cost: each node is ended and started some times, in turn. */
async function again(nodes: RunningMayfly[], many: number): Promise<void> {
  const folders = nodes.map((node) => node.data)
  const times: [number[], number[]] = [[], []]
  const memory: [number[], number[]] = [[], []]
  for (const node of nodes) await node.stop()
  for (let round = 0; round < STARTS; round++) {
    for (const [at, data] of folders.entries()) {
      const from = performance.now()
      const node = await startMayfly(data)
      times[at]?.push(performance.now() - from)
      await pause(1000)
      memory[at]?.push(Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${node.pid()}/smaps_rollup`, 'utf8'))?.[1]) / 1024)
      await node.stop()
    }
  }
  const base = show(`a start, of ${FEW}`, times[0])
  const beside = show(`a start, of ${many}`, times[1])
  const megabytes = (of: number[]) => of.map((mb) => mb.toFixed(0)).join(', ')
  process.stdout.write(`→ a start: ${many} ÷ ${FEW}: p50 ${(beside.p50 / base.p50).toFixed(2)}\n`)
  process.stdout.write(`→ the node's memory (PSS) a second later: ${megabytes(memory[0])} MB of ${FEW}, ${megabytes(memory[1])} MB of ${many}\n`)
}

async function make(aws: LambdaClient): Promise<void> {
  const ZipFile = await zipOf({ 'index.mjs': "export const handler = async () => 'hello'" })
  for (let n = 0; n < FEW; n++) {
    const FunctionName = `f-${n}`
    await aws.send(new CreateFunctionCommand({ FunctionName, Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, MemorySize: 128, Code: { ZipFile } }))
    await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName })
  }
}

async function copy(node: RunningMayfly, many: number): Promise<void> {
  const control = new PostgresDatabase(controlOf(node.data), { max: 1, statementTimeoutMs: 0 })
  try {
    await control.sql`
      with made as (
        select gen_random_uuid() as id, gen_random_uuid() as version, 'f-' || n as name from generate_series(${FEW}::int, ${many - 1}::int) n
      ), functions as (
        insert into mayfly.function (id, project_id, name, version_id, revision_id, tags)
        select made.id, first.project_id, made.name, made.version, gen_random_uuid(), first.tags from made, mayfly.function first where first.name = 'f-0'
      )
      insert into mayfly.function_version (id, function_id, project_id, definition, artefact, code_bytes, environment, state)
      select made.version, made.id, version.project_id, version.definition, version.artefact, version.code_bytes, version.environment, version.state
        from made, mayfly.function first join mayfly.function_version version on version.id = first.version_id where first.name = 'f-0'`
    // As the server does by itself within a minute.
    await control.sql`analyze`
  } finally {
    await control[Symbol.asyncDispose]()
  }
}
