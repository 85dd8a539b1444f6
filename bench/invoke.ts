import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { CreateFunctionCommand, CreateFunctionUrlConfigCommand, InvokeCommand, waitUntilFunctionActiveV2 } from '@aws-sdk/client-lambda'
import { awsOf } from '../test/acceptance/aws.ts'
import { ROLE, startMayfly, zipOf } from '../test/acceptance/harness.ts'
import { pause, show, timed } from './measure.ts'
import { functionsFramework, workerd } from './peers.ts'
import { wrk } from './wrk.ts'

// A hello by Invoke of the AWS SDK and by a function URL, beside functions-framework and workerd, on the same machine in
// the same minute; prints ratios. Takes wrk (apt-get install wrk); workerd is fetched from npm into a folder that goes again.
// Usage: npm run bench:invoke

const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-bench-'))
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}\n`)

const node = await startMayfly(path.join(folder, 'data'))
const aws = awsOf(node.ready)
const framework = functionsFramework(folder)
const worker = workerd(folder)
try {
  const FunctionName = 'hello'
  const code = await zipOf({ 'index.mjs': "export const handler = async () => 'hello'" })
  await aws.send(new CreateFunctionCommand({ FunctionName, Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, Code: { ZipFile: code } }))
  await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName })
  const { FunctionUrl = '' } = await aws.send(new CreateFunctionUrlConfigCommand({ FunctionName, AuthType: 'NONE' }))
  await pause(3000)

  const times = async (work: () => Promise<unknown>) => {
    for (let n = 0; n < 50; n++) await work()
    const all: number[] = []
    for (let n = 0; n < 500; n++) all.push(await timed(work))
    return all
  }
  const got = (url: string) => async () => void (await (await fetch(url)).text())
  const base = show('functions-framework by fetch', await times(got(framework.url)))
  const theirs = worker && show('workerd by fetch', await times(got(worker.url)))
  const ours = show('function URL by fetch', await times(got(FunctionUrl)))
  const sdk = show('Invoke by the AWS SDK', await times(() => aws.send(new InvokeCommand({ FunctionName }))))
  const ratio = (value: number, peer: { p50: number } | null) => (peer ? (value / peer.p50).toFixed(2) : 'not measured')
  process.stdout.write(
    `→ times, p50: URL ÷ functions-framework ${ratio(ours.p50, base)}, ÷ workerd ${ratio(ours.p50, theirs)}; SDK ÷ functions-framework by fetch ${ratio(sdk.p50, base)}\n`,
  )

  for (const connections of [1, 8, 32]) {
    for (let pass = 0; pass < 3; pass++) {
      const a = wrk(framework.url, connections, null).rate
      const b = worker ? wrk(worker.url, connections, null).rate : null
      const c = wrk(FunctionUrl, connections, null).rate
      process.stdout.write(
        `${connections} connections: function URL ${c.toFixed(0)}/s, functions-framework ${a.toFixed(0)}/s, workerd ${b?.toFixed(0) ?? '-'}/s; ratios ${(c / a).toFixed(2)}, ${b ? (c / b).toFixed(2) : '-'}\n`,
      )
    }
  }
} finally {
  framework.kill()
  worker?.kill()
  aws.destroy()
  await node.stop()
  rmSync(folder, { recursive: true, force: true })
}
