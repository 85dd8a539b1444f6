import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { CreateFunctionCommand, InvokeCommand, type LambdaClient, TooManyRequestsException, waitUntilFunctionActiveV2 } from '@aws-sdk/client-lambda'
import { awsOf } from './aws.ts'
import { makeFolder, mayfly, processes, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

const SLEEPS =
  'export const handler = async (event) => { const ms = Number(event.rawQueryString ?? event.ms ?? 0); await new Promise((done) => setTimeout(done, ms)); return ms }'
const SLOTS = 40

interface Tenant {
  readonly ref: string
  readonly url: string
  readonly key: string
  readonly aws: LambdaClient
}

let folder = ''
let node: RunningMayfly
let loud: Tenant
let quiet: Tenant

const operator = () => readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()
async function manage(method: string, at: string, body: unknown): Promise<{ status: number; json: Record<string, unknown> }> {
  const response = await fetch(`${node.ready.url}${at}`, { method, headers: { authorization: `Bearer ${operator()}` }, body: JSON.stringify(body) })
  return { status: response.status, json: (await response.json()) as Record<string, unknown> }
}
async function create({ aws }: Tenant, name: string): Promise<void> {
  const code = { ZipFile: await zipOf({ 'index.mjs': SLEEPS }) }
  await aws.send(new CreateFunctionCommand({ FunctionName: name, Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, Timeout: 20, Code: code }))
  await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName: name })
}
/** Calls by name; `ms` is how long the function takes. */
async function call({ url, key }: Tenant, name: string, ms = 0): Promise<{ status: number; code: string | null; tookMs: number }> {
  const from = performance.now()
  const response = await fetch(`${url}/functions/v1/${name}?${ms}`, { headers: { apikey: key } })
  const text = await response.text()
  return { status: response.status, code: response.status === 200 ? null : (JSON.parse(text) as { code: string }).code, tookMs: performance.now() - from }
}
/** In which group a process shares the processors. */
function groupOf(pid: number): string {
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'latin1')
    .split('\n')
    .map((line) => line.split(':'))
  const first = lines.find(([, controllers = '']) => controllers.split(',').includes('cpu'))
  return (first ?? lines.find(([, controllers]) => controllers === '') ?? []).slice(2).join(':')
}
const TREE = ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup/cpu,cpuacct', '/sys/fs/cgroup'].find((tree) => existsSync(tree)) ?? ''
function weightOf(group: string): number {
  const file = ['cpu.shares', 'cpu.weight'].map((name) => path.join(TREE, group, name)).find((one) => existsSync(one))
  return file === undefined ? Number.NaN : Number(readFileSync(file, 'latin1'))
}
const statuses = (calls: readonly { status: number }[]) => calls.map(({ status }) => status)

before(async () => {
  folder = makeFolder()
  node = await startMayfly(`${folder}/data`, ['--empty', '--invoke-concurrency', String(SLOTS), '--invoke-wait-ms', '5000'])
  const { ready } = node
  quiet = { ref: ready.project.ref, url: ready.url, key: ready.project.secretKey, aws: awsOf(ready) }
  const made = await manage('POST', '/api/v1/projects', { ref: 'loud' })
  const keys = made.json.keys as { secretKey: string; accessKey: { id: string; secret: string } }
  loud = { ref: 'loud', url: `${ready.url}/p/loud`, key: keys.secretKey, aws: awsOf({ ...ready, accessKey: keys.accessKey }) }
  for (const name of ['one', 'two', 'three']) await create(loud, name)
  await create(quiet, 'own')
})
after(async () => {
  for (const tenant of [loud, quiet]) tenant?.aws.destroy()
  await node?.stop()
  removeFolder(folder)
})

describe('projects on one node', () => {
  it('have a limit of their own where the operator says so: by name a call waits for its turn, by the Lambda API it is refused at once', async () => {
    const at = '/api/v1/projects/loud/concurrency'
    assert.deepEqual(await manage('PUT', at, { concurrency: 1 }), { status: 200, json: { concurrency: 1, weight: 1 } })
    for (const wrong of [{ weight: 0 }, { weight: 1.5 }, { concurrency: -1 }, { concurrency: '1' }, []])
      assert.deepEqual([(await manage('PUT', at, wrong)).json.code], ['bad_request'], JSON.stringify(wrong))
    assert.equal((await manage('PUT', '/api/v1/projects/nobody/concurrency', {})).json.code, 'project_not_found')
    const cli = (args: string[]) => mayfly(['projects', ...args, '--data', node.data])
    assert.match(cli(['set', 'loud', '--weight', '7']).stdout, /^loud beside other projects: at most 1 calls at once, weight 7$/m)
    assert.match(cli(['show', 'loud']).stdout, /at most 1 calls at once, weight 7$/m)
    assert.deepEqual(JSON.parse(cli(['set', 'loud', '--concurrency', 'none', '--json']).stdout), { share: { concurrency: null, weight: 7 } })
    assert.equal(cli(['set', 'loud', '--concurrency', '1']).code, 0)
    assert.deepEqual([cli(['set', 'loud']).code, cli(['set', 'loud', '--weight', 'x']).code, cli(['show', 'loud', '--weight', '1']).code], [2, 2, 2])
    const running = call(loud, 'one', 1_500)
    await new Promise((resolve) => setTimeout(resolve, 500))
    await assert.rejects(loud.aws.send(new InvokeCommand({ FunctionName: 'two' })), (error: unknown) => {
      assert.ok(error instanceof TooManyRequestsException, String(error))
      assert.equal(error.Reason, 'ConcurrentInvocationLimitExceeded')
      return true
    })
    assert.deepEqual(statuses(await Promise.all([call(loud, 'two'), call(quiet, 'own'), running])), [200, 200, 200])
    await manage('PUT', at, {})
    const page = await (await fetch(`${node.ready.url}/metrics`, { headers: { authorization: `Bearer ${operator()}` } })).text()
    assert.match(page, /mayfly_invocations_refused_total\{limit="project"\} [1-9]/)
    assert.match(page, /mayfly_invocations_waiting 0/)
  })

  it('have a node that goes before all of their sandboxes, with its PostgreSQL', async (context) => {
    if (process.getuid?.() !== 0 || groupOf(process.pid) !== '/') return context.skip('only root outside of all groups puts a node into its own')
    const group = groupOf(node.pid())
    assert.match(group, /^\/mayfly-[0-9a-f]{12}-node$/)
    const children = readFileSync(`/proc/${node.pid()}/task/${node.pid()}/children`, 'latin1').trim().split(' ').map(Number)
    const servers = processes().filter(({ pid, args }) => args.includes('/bin/postgres -D ') && children.includes(pid))
    assert.ok(servers.length > 0)
    assert.deepEqual([...new Set(servers.map(({ pid }) => groupOf(pid)))], [group])
    assert.deepEqual(statuses([await call(quiet, 'own')]), [200])
    const sandboxes = readdirSync(TREE).filter((name) => name.startsWith(group.slice(1, -'-node'.length)) && `/${name}` !== group)
    const inside = sandboxes.flatMap((name) => readdirSync(path.join(TREE, name)).filter((one) => one.startsWith('s-')))
    assert.ok(inside.length > 0)
    // However many processes the node has.
    const together = sandboxes.reduce((sum, name) => sum + weightOf(name), 0)
    assert.ok(Math.abs(weightOf(group) - 2 * together) <= 20 * sandboxes.length, `${weightOf(group)} of the node, ${together} of sandboxes`)
  })

  it('are served beside the burst of another: none of their calls is refused, and what they wait is told as a ratio', async (context) => {
    const series = async () => {
      const took: number[] = []
      for (let n = 0; n < 20; n++) {
        const own = await Promise.all([call(quiet, 'own', 5), call(quiet, 'own', 5)])
        assert.deepEqual(statuses(own), [200, 200])
        took.push(...own.map(({ tookMs }) => tookMs))
      }
      return took.toSorted((a, b) => a - b)
    }
    await series()
    const alone = await series()
    let going = true
    const burst = Array.from({ length: 120 }, async (_, n) => {
      const own: number[] = []
      while (going) own.push((await call(loud, ['one', 'two', 'three'][n % 3] as string, 100)).status)
      return own
    })
    const beside = await series()
    going = false
    const louds = (await Promise.all(burst)).flat()
    assert.deepEqual(
      [...new Set(louds)].filter((status) => status !== 200 && status !== 429),
      [],
    )
    assert.ok(louds.filter((status) => status === 200).length >= 120 - SLOTS, 'the burst is served too')
    const at = (sorted: number[], share: number) => sorted[Math.floor(sorted.length * share)] as number
    context.diagnostic(
      `beside a burst of 120 calls: p50 ${(at(beside, 0.5) / at(alone, 0.5)).toFixed(2)} x, p99 ${(at(beside, 0.99) / at(alone, 0.99)).toFixed(2)} x; alone p50 ${at(alone, 0.5).toFixed(1)} ms, p99 ${at(alone, 0.99).toFixed(1)} ms; ${louds.length} calls of the burst`,
    )
  })
})
