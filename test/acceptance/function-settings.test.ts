import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import {
  CreateFunctionCommand,
  GetAccountSettingsCommand,
  GetFunctionConfigurationCommand,
  InvokeCommand,
  LambdaServiceException,
  UpdateFunctionConfigurationCommand,
  waitUntilFunctionActiveV2,
} from '@aws-sdk/client-lambda'
import { noPython } from './runtimes-fixture.ts'
import { awsOf } from './aws.ts'
import { makeFolder, mayfly, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

/** crun, or runc, is what a node of root takes by itself. */
const noOtherDriver = process.getuid?.() === 0 && existsSync('/usr/bin/bwrap') ? false : 'needs root, and the package bubblewrap'
const noGvisor = process.getuid?.() === 0 && existsSync('/usr/bin/runsc') ? false : 'needs root, and the package runsc'
const ARGS = ['--empty', ...['--invoke-concurrency', '--invoke-project-concurrency', '--invoke-function-concurrency'].flatMap((flag) => [flag, '1000'])]

let folder = ''
let node: RunningMayfly

before(async () => {
  folder = makeFolder()
  node = await startMayfly(path.join(folder, 'data'), ARGS)
})
after(async () => {
  await node?.stop()
  removeFolder(folder)
})

const cli = (...args: string[]) => mayfly([...args, '--data', node.data])
const json = <T>(...args: string[]): T => {
  const { code, stdout, stderr } = cli(...args, '--json')
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout) as T
}

/** Writes a function into a folder of its own and deploys it. */
function deploy(name: string, settings: object, code: string | Record<string, string> = 'export const handler = async () => 1', ...more: string[]) {
  const at = path.join(folder, name)
  mkdirSync(at, { recursive: true })
  for (const [file, text] of Object.entries(typeof code === 'string' ? { 'index.mjs': code } : code)) writeFileSync(path.join(at, file), text)
  writeFileSync(path.join(at, 'mayfly.json'), JSON.stringify(settings))
  return cli('deploy', at, '--json', ...more)
}

const management = async (method: string, route: string, key: string, body?: unknown) => {
  const response = await fetch(`${node.ready.url}/api/v1/${route}`, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  // biome-ignore lint/suspicious/noExplicitAny: replies are looked into freely
  return { status: response.status, body: (text === '' ? null : JSON.parse(text)) as any }
}

/** The minor version of the system's Python. */
const pythonMinor = () => execFileSync('/usr/bin/python3', ['-c', 'import sys; print(sys.version_info.minor)'], { encoding: 'utf8' }).trim()

const failsAs = (name: string, status: number, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof LambdaServiceException, String(error))
  assert.deepEqual([error.name, error.$metadata.httpStatusCode], [name, status])
  assert.match(error.message, message)
  return true
}

describe('a limit profile of a project', () => {
  it('holds deploys, configuration and queued events to its numbers; what is beyond it already goes on, and says so', async () => {
    const aws = awsOf(node.ready)
    const { ref } = node.ready.project
    assert.equal(deploy('large', { memory: 2048 }, 'export const handler = async () => 1').code, 0)
    const listed = json<{ projects: { ref: string; profile: string }[] }>('projects')
    assert.deepEqual(
      listed.projects.map((one) => [one.ref, one.profile]),
      [[ref, 'mayfly']],
    )
    assert.equal(cli('projects', 'set', ref, '--profile', 'lambda-2017').code, 0)
    assert.match(cli('projects').stdout, /lambda-2017/)
    assert.match(cli('projects', 'show', ref).stdout, /memory +128 to 1500 MB\n +timeout +1 to 300 s/)
    assert.match(cli('projects', 'profiles').stdout, /lambda-2017 +128 to 1500 MB/)

    for (const dry of [[], ['--dry-run']]) {
      const refused = deploy('new', { memory: 1501, timeout: 301 }, undefined, ...dry)
      assert.equal(refused.code, 1)
      assert.match(
        refused.stderr + refused.stdout,
        /memory: 1501 MB is more than the 1500 MB that the limit profile lambda-2017 .*timeout: 301 s is more than the 300 s/,
      )
    }
    assert.equal(deploy('new', { memory: 1500, timeout: 300 }).code, 0)
    assert.equal(json<{ payload: number }>('invoke', 'large').payload, 1)
    const again = deploy('large', { memory: 2048 }, 'export const handler = async () => 2')
    assert.equal(again.code, 0)
    assert.match(again.stderr + again.stdout, /memory: 2048 MB is more than the 1500 MB that the limit profile lambda-2017 .* stays until it is changed/)
    assert.equal(json<{ payload: number }>('invoke', 'large').payload, 2)

    await assert.rejects(
      aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'new', Timeout: 600 })),
      failsAs('InvalidParameterValueException', 400, /^timeout: 600 s is more than the 300 s that the limit profile lambda-2017 /),
    )
    const code = { ZipFile: await zipOf({ 'index.mjs': 'export const handler = async () => 1' }) }
    await assert.rejects(
      aws.send(new CreateFunctionCommand({ FunctionName: 'made', Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, Code: code, MemorySize: 3008 })),
      failsAs('InvalidParameterValueException', 400, /^memory: 3008 MB is more than the 1500 MB/),
    )
    assert.equal((await aws.send(new GetFunctionConfigurationCommand({ FunctionName: 'new' }))).Timeout, 300)

    const event = (bytes: number) => new InvokeCommand({ FunctionName: 'new', InvocationType: 'Event', Payload: Buffer.from(`"${'x'.repeat(bytes - 2)}"`) })
    assert.equal((await aws.send(event(131_072))).StatusCode, 202)
    await assert.rejects(aws.send(event(131_073)), failsAs('RequestTooLargeException', 413, /smaller than 131072 bytes/))
    const queued = await management('POST', `projects/${ref}/functions/new/invoke?async=1`, node.ready.project.secretKey, 'x'.repeat(131_071))
    assert.equal(queued.body.code, 'payload_too_large')
    assert.match(queued.body.message, /131072 bytes, by the limit profile lambda-2017/)

    assert.equal((await aws.send(new GetAccountSettingsCommand({}))).AccountLimit?.CodeSizeZipped, 52_428_800)
    // What it means is the operator's to choose; the project may look.
    const shown = await management('GET', `projects/${ref}`, node.ready.project.secretKey)
    assert.deepEqual([shown.body.project.profile, shown.body.limits.memory.most], ['lambda-2017', 1500])
    for (const body of [{ profile: 'mayfly' }])
      assert.equal((await management('PATCH', `projects/${ref}`, node.ready.project.secretKey, body)).body.code, 'not_allowed')
    const unknown = cli('projects', 'set', ref, '--profile', 'lambda-1999')
    assert.equal(unknown.code, 1)
    assert.match(unknown.stderr, /profile: one of `mayfly`, `lambda`, `lambda-2017`/)
    assert.equal(cli('projects', 'set', 'nobody', '--profile', 'lambda').code, 5)

    // It outlives the node.
    await node.stop()
    node = await startMayfly(node.data, ARGS)
    assert.match(cli('projects').stdout, /lambda-2017/)
    assert.equal(cli('projects', 'set', ref, '--profile', 'mayfly').code, 0)
    assert.equal(deploy('new', { memory: 1501, timeout: 301 }).code, 0)
  })
})

const SIZES = `import fs from 'node:fs'
export const handler = async (event, context) => {
  const { bsize, blocks } = fs.statfsSync('/tmp')
  let written = 0
  try {
    for (; written < (event.fillMb ?? 0); written++) fs.appendFileSync('/tmp/full', Buffer.alloc(1 << 20))
  } catch (error) {
    return { full: error.code, written }
  } finally {
    fs.rmSync('/tmp/full', { force: true })
  }
  return { tmp: (bsize * blocks) / 1048576, memory: context.memoryLimitInMB, left: context.getRemainingTimeInMillis(), written }
}`

interface Run {
  readonly payload: { readonly [field: string]: unknown; readonly errorType?: string }
  readonly failed: boolean
  readonly cold: string | null
}
/** A function that fails is told by the exit code 6; its answer is on stdout all the same. */
const run = (name: string, event: unknown = {}): Run => {
  const { stdout, stderr } = cli('invoke', name, '--data', JSON.stringify(event), '--json')
  assert.notEqual(stdout, '', stderr)
  return JSON.parse(stdout) as Run
}

describe('what a function is set to is in force in its sandbox', () => {
  it('memory and /tmp of 64 MB: it runs, sees them, and is stopped at them', () => {
    assert.equal(deploy('small', { memory: 64, tmp: 64 }, SIZES).code, 0)
    const { payload } = run('small')
    assert.deepEqual([payload.tmp, payload.memory], [64, '64'])
    // What lies in /tmp is memory of the sandbox: with this much of it both are met at about the same place.
    const full = run('small', { fillMb: 70 })
    assert.ok(full.payload.full === 'ENOSPC' || full.payload.errorType === 'Runtime.ExitError', JSON.stringify(full.payload))
    assert.equal(deploy('small', { memory: 256, tmp: 64 }, SIZES).code, 0)
    assert.deepEqual(run('small', { fillMb: 70 }).payload, { full: 'ENOSPC', written: 64 })
  })

  it('/tmp of 2 GB by a flag of deploy, the rest by mayfly.json; memory ends it first', () => {
    const wide = deploy('wide', { memory: 128, timeout: 900 }, SIZES, '--tmp', '2048')
    assert.equal(wide.code, 0)
    assert.match(
      (JSON.parse(wide.stdout) as { warnings: string[] }).warnings.join(),
      /^tmp: what lies in \/tmp is memory of the sandbox; with memory of 128 MB/,
    )
    const { payload } = run('wide')
    assert.equal(payload.tmp, 2048)
    assert.ok((payload.left as number) > 890_000 && (payload.left as number) <= 900_000, String(payload.left))
    const over = run('wide', { fillMb: 300 })
    assert.equal(over.payload.errorType, 'Runtime.ExitError')
    assert.match(String(over.payload.errorMessage), /signal: killed/)
    assert.equal(run('wide').payload.tmp, 2048)
  })

  it('10240 MB, all of which objects of Node may take', () => {
    const code = `import v8 from 'node:v8'
export const handler = async (event, { memoryLimitInMB }) => ({ memoryLimitInMB, heapMb: v8.getHeapStatistics().heap_size_limit / 1048576 })`
    assert.equal(deploy('largest', { memory: 10_240 }, code).code, 0)
    const { payload } = run('largest')
    assert.equal(payload.memoryLimitInMB, '10240')
    assert.ok((payload.heapMb as number) >= 10_240, String(payload.heapMb))
  })

  it('a Python function of 64 MB', { skip: noPython }, () => {
    const runtime = `python3.${pythonMinor()}`
    const code = {
      'app.py':
        "import os\ndef handler(event, context):\n    s = os.statvfs('/tmp')\n    return {'tmp': s.f_frsize * s.f_blocks >> 20, 'memory': context.memory_limit_in_mb}\n",
    }
    assert.equal(deploy('snake', { runtime, handler: 'app.handler', memory: 64, tmp: 2048 }, code).code, 0)
    assert.deepEqual(run('snake').payload, { tmp: 2048, memory: '64' })
  })

  it('a timeout of one second, and what the call used until then', () => {
    assert.equal(deploy('late', { timeout: 1 }, 'export const handler = ({ ms = 0 }) => new Promise((done) => setTimeout(done, ms))').code, 0)
    run('late')
    const { payload } = run('late', { ms: 5000 })
    assert.equal(payload.errorType, 'Sandbox.Timedout')
    assert.match(String(payload.errorMessage), /timed out after 1\.00 seconds/)
    const [late, early] = json<{ invocations: { outcome: string; maxMemoryMb: number | null }[] }>('invocations', 'late').invocations
    assert.deepEqual([late?.outcome, early?.outcome], ['timeout', 'ok'])
    // Where the kernel counts memory it does so of both.
    assert.equal(typeof late?.maxMemoryMb, typeof early?.maxMemoryMb)
    assert.ok(early?.maxMemoryMb === null || (late?.maxMemoryMb ?? 0) > 0, JSON.stringify(late))
  })

  it('a sandbox of the driver that it asks for, where the host has several', { skip: noOtherDriver }, () => {
    const code = `import fs from 'node:fs'
export const handler = async () => {
  const { bsize, blocks } = fs.statfsSync('/tmp')
  return { ids: fs.readFileSync('/proc/self/uid_map', 'utf8').trim().split(/ +/).map(Number), tmp: (bsize * blocks) / 1048576 }
}`
    // The one has a range of user ids in each sandbox, the other a single one.
    assert.equal(deploy('apart', { tmp: 96, sandbox: 'bwrap' }, code).code, 0)
    const { payload } = run('apart')
    assert.deepEqual([(payload.ids as number[])[2], payload.tmp], [1, 96])
    assert.equal(deploy('apart', { tmp: 96 }, code, '--sandbox', 'runc').code, 0)
    assert.deepEqual([(run('apart').payload.ids as number[])[2], run('apart').payload.tmp], [65_536, 96])
    const shown = json<{ function: { sandbox: string } }>('deploy', path.join(folder, 'apart'), '--sandbox', 'bwrap')
    assert.equal(shown.function.sandbox, 'bwrap')
    run('apart')
    const drivers = json<{ sandboxes: { functionName: string; driver: string }[] }>('sandboxes').sandboxes.filter((one) => one.functionName === 'apart')
    assert.ok(
      drivers.some((one) => one.driver === 'bwrap'),
      JSON.stringify(drivers),
    )
    assert.match(cli('sandboxes').stdout, /demo\/apart +\$LATEST +nodejs24\.x +bwrap /)
  })

  it('the kernel of gVisor, where it is installed, and no network by it, which a deploy says', { skip: noGvisor }, () => {
    const code = "import os from 'node:os'\nexport const handler = async () => os.release()"
    const made = deploy('apart-twice', { sandbox: 'gvisor' }, code)
    assert.equal(made.code, 0, made.stderr)
    assert.match((JSON.parse(made.stdout) as { warnings: string[] }).warnings.join(), /egress: functions have no network by the driver `gvisor`/)
    assert.equal(String(run('apart-twice').payload), '4.4.0')
    assert.notEqual(release(), '4.4.0')
  })

  it('a thousand calls at once in one sandbox, whichever processes take them', async () => {
    const code = `let waiting = []
const sandbox = crypto.randomUUID()
export default { async fetch(request) {
  const { length } = await request.text()
  if (length > 0) await new Promise((done) => { waiting.push(done); if (waiting.length === 1000) for (const one of waiting.splice(0)) one() })
  return new Response('x'.repeat(length), { headers: { sandbox } })
} }`
    assert.equal(deploy('many', { handler: 'index', concurrency: 1000, verifyJwt: false }, code).code, 0)
    const call = async (length: number) => {
      const reply = await fetch(`${node.ready.url}/functions/v1/many`, { method: 'POST', body: 'y'.repeat(length) })
      return [reply.status, (await reply.text()).length, reply.headers.get('sandbox')]
    }
    // There is a sandbox, so that none of them begins another; then each waits inside until all are there.
    const [, , sandbox] = await call(0)
    const all = await Promise.all(Array.from({ length: 1000 }, () => call(10_000)))
    assert.equal(all.filter(([status, length, by]) => status === 200 && length === 10_000 && by === sandbox).length, 1000)
  })

  it('EphemeralStorage, MemorySize and Timeout of the Lambda API, with its own bounds', async () => {
    const aws = awsOf(node.ready)
    const ZipFile = await zipOf({ 'index.mjs': SIZES })
    const made = { FunctionName: 'aws', Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, Code: { ZipFile } } as const
    await aws.send(new CreateFunctionCommand({ ...made, MemorySize: 192, Timeout: 900, EphemeralStorage: { Size: 1024 } }))
    await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName: 'aws' })
    const { payload } = run('aws')
    assert.deepEqual([payload.tmp, payload.memory], [1024, '192'])
    const changed = (more: object) => aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'aws', ...more }))
    for (const [more, words] of [
      [{ EphemeralStorage: { Size: 511 } }, /'ephemeralStorage\.size' failed to satisfy constraint: Member must have value greater than or equal to 512/],
      [{ EphemeralStorage: { Size: 10_241 } }, /less than or equal to 10240/],
      [{ MemorySize: 127 }, /'memorySize' .*greater than or equal to 128/],
    ] as const)
      await assert.rejects(changed(more), words)
  })

  it('says by name what is out of bounds, and takes no flag of a function for a project', () => {
    const refused = deploy(
      'bounds',
      {},
      undefined,
      ...['--memory', '63', '--tmp', '10241', '--concurrency', '1001', '--timeout', '901', '--reuse', 'sometimes', '--sandbox', 'docker'],
    )
    assert.equal(refused.code, 1)
    for (const words of [
      'memory: must be a whole number of MB from 64 to 10240',
      'timeout: must be a whole number of seconds from 1 to 900',
      'tmp: must be a whole number of MB from 64 to 10240',
      'concurrency: must be a whole number of calls from 1 to 1000',
      'reuse: must be `function`, `fork`, `never`',
      'sandbox: must be `auto`, `crun`, `runc`, `gvisor`, `bwrap`',
    ])
      assert.ok(refused.stderr.includes(words), refused.stderr)
    assert.equal(deploy('bounds', {}, undefined, '--memory', 'much').code, 2)
    const project = deploy('several', { functions: [] }, undefined, '--memory', '128')
    assert.equal(project.code, 2)
    assert.match(project.stderr, /--memory is of one function/)
    const reserved = deploy('several', { functions: [] }, undefined, '--reserved-concurrency', '1')
    assert.match(reserved.stderr, /--reserved-concurrency is of one function/)
  })

  it('takes network, reserved and provisioned concurrency by flags, and shows one function with all its settings', () => {
    const flags = ['--egress', 'api.example.com, *.example.org:443', '--reserved-concurrency', '3', '--provisioned', '1', '--tmp', '96', '--reuse', 'never']
    assert.equal(deploy('flagged', { egress: 'none' }, undefined, ...flags).code, 0)
    const shown = cli('ls', 'flagged').stdout
    for (const line of [
      /^tmp +96 MB$/m,
      /^reuse +never$/m,
      /^egress +\*\.example\.org:443, api\.example\.com$/m,
      /^reservedConcurrency +3 calls at once$/m,
      /^provisioned +[01] of 1 loaded$/m,
    ])
      assert.match(shown, line)
    assert.equal(deploy('flagged', { egress: 'none' }, undefined, '--reserved-concurrency', 'none').code, 0)
    const bare = json<{ function: { egress: string; reservedConcurrency: number | null; provisionedNow: null } }>('ls', 'flagged').function
    assert.deepEqual([bare.egress, bare.reservedConcurrency, bare.provisionedNow], ['none', null, null])
    for (const [flag, value, words, code] of [
      ['--egress', '10.0.0.1', /egress\.0: is an address that no function reaches/, 1],
      ['--egress', 'a.example.com,mail.example.com:25', /egress\.1: port 25 stays shut/, 1],
      ['--reserved-concurrency', '901', /reservedConcurrency: must be a whole number of calls from 0 to 900/, 1],
      ['--reserved-concurrency', 'many', /--reserved-concurrency must be a whole number of calls, or `none`/, 2],
      ['--provisioned', '901', /provisioned: must be a whole number of sandboxes from 0 to 900/, 1],
      ['--provisioned', 'some', /--provisioned must be a whole number of sandboxes/, 2],
    ] as const) {
      const refused = deploy('flagged', {}, undefined, flag, value)
      assert.equal(refused.code, code, refused.stderr)
      assert.match(refused.stderr, words)
    }
    assert.equal(cli('ls', 'nobody').code, 5)
  })
})
