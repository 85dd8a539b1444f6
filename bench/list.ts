import { CreateFunctionCommand, InvokeCommand, type LambdaClient, ListFunctionsCommand } from '@aws-sdk/client-lambda'
import { show, timed } from './measure.ts'
import { awsOf, ROLE, startMayfly, zipOf } from '../test/acceptance/harness.ts'

const FEW = 10
const ROUNDS = 300
const AT_ONCE = 8

/**
 * What a page of the list and a warm call cost beside 10 functions, and beside `many` (10,000): one node of each, asked
 * in turn, so that what else the machine does falls on both.
 */
export async function list(folder: string, many: number): Promise<void> {
  const small = await startMayfly(`${folder}/few`)
  const large = await startMayfly(`${folder}/many`)
  const [few, full] = [awsOf(small.ready), awsOf(large.ready)]
  await fill(few, FEW)
  await fill(full, many)
  const page = (aws: LambdaClient) => timed(() => aws.send(new ListFunctionsCommand({ MaxItems: FEW })))
  const call = (aws: LambdaClient) => timed(() => aws.send(new InvokeCommand({ FunctionName: 'f-0' })))
  for (const [what, ask] of [
    ['a page of 10 functions', page],
    ['a warm call', call],
  ] as const) {
    const times: [number[], number[]] = [[], []]
    for (let round = 0; round < ROUNDS + 20; round++) {
      for (const [at, aws] of [few, full].entries()) {
        const took = await ask(aws)
        if (round >= 20) times[at]?.push(took)
      }
    }
    const base = show(`${what}, of ${FEW}`, times[0])
    const beside = show(`${what}, of ${many}`, times[1])
    process.stdout.write(`→ ${what}: ${many} ÷ ${FEW}: p50 ${(beside.p50 / base.p50).toFixed(2)}  (aim 1.2)\n`)
  }
  few.destroy()
  full.destroy()
  await small.stop()
  await large.stop()
}

async function fill(aws: LambdaClient, count: number): Promise<void> {
  const ZipFile = await zipOf({ 'index.mjs': "export const handler = async () => 'hello'" })
  let next = 0
  const create = async () => {
    for (let n = next++; n < count; n = next++) {
      await aws.send(
        new CreateFunctionCommand({ FunctionName: `f-${n}`, Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, MemorySize: 128, Code: { ZipFile } }),
      )
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, create))
}
