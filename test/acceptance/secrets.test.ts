import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { GetFunctionCommand, GetFunctionConfigurationCommand, type LambdaClient } from '@aws-sdk/client-lambda'
import { awsOf } from './aws.ts'
import { makeFolder, processes, ROOT, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

const BIN = path.join(ROOT, 'bin', 'mayfly.js')
/** What must be found nowhere. */
const VALUE = 'sk_live_4f8a-hush/÷=" \'$'

let folder = ''
let node: RunningMayfly
let aws: LambdaClient

before(async () => {
  folder = makeFolder()
  for (const [name, more] of [
    ['named', { secrets: ['STRIPE_KEY', 'OTHER'], environment: { OTHER: 'plain' } }],
    ['all', { secrets: ['*'] }],
    ['none', {}],
  ] as const) {
    mkdirSync(path.join(folder, name))
    writeFileSync(
      path.join(folder, name, 'index.mjs'),
      `import { createHash } from 'node:crypto'
const digest = (text) => text === undefined ? null : createHash('sha256').update(text).digest('hex')
export const handler = async (event) => {
  const first = digest(process.env.STRIPE_KEY)
  if (event.ms) await new Promise((done) => setTimeout(done, event.ms))
  if (event.fail) throw new Error('on purpose')
  let api = null
  if (event.ask) { const asked = await fetch(process.env.MAYFLY_URL + event.ask, { headers: { apikey: process.env.MAYFLY_KEY } }); api = [asked.status, await asked.text()] }
  return { first, second: digest(process.env.STRIPE_KEY), other: process.env.OTHER ?? null, key: process.env.MAYFLY_KEY !== undefined, api }
}`,
    )
    writeFileSync(path.join(folder, name, 'mayfly.json'), JSON.stringify({ name, ...more }))
  }
  node = await startMayfly(path.join(folder, 'data'), ['--empty', '--log-level', 'debug'])
  aws = awsOf(node.ready)
})
after(async () => {
  aws?.destroy()
  await node?.stop()
  removeFolder(folder)
})

/** All that was said by anybody so far. */
let said = ''
function cli(args: readonly string[], input = '') {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...args, '--data', node.data], { encoding: 'utf8', input, timeout: 60_000 })
  said += stdout + stderr
  return { code: status, stdout, stderr }
}
function ok(args: readonly string[], input = '') {
  const done = cli(args, input)
  assert.equal(done.code, 0, done.stderr)
  return done
}
async function api(method: string, at: string, body: string | null = null, key = node.ready.project.secretKey) {
  const response = await fetch(node.ready.url + at, { method, headers: { authorization: `Bearer ${key}` }, ...(body === null ? {} : { body }) })
  const text = await response.text()
  said += text + JSON.stringify([...response.headers])
  return { status: response.status, text, json: (text.startsWith('{') ? JSON.parse(text) : {}) as Record<string, unknown> }
}
const call = async (name: string, event: unknown = {}) => {
  const { text } = await api('POST', `/api/v1/projects/demo/functions/${name}/invoke`, JSON.stringify(event))
  return JSON.parse(text) as { first: string | null; second: string | null; other: string | null; key: boolean; api: [number, string] | null }
}
const digest = (text: string) => execFileSync('sha256sum', { input: text, encoding: 'utf8' }).slice(0, 64)

describe('secrets', () => {
  it('are missed at deploy by name, set from standard input, and reach the functions that name them', async () => {
    const { stderr } = ok(['deploy', path.join(folder, 'named')])
    assert.match(stderr, /warning: secrets: the project has no secret STRIPE_KEY yet; set it with `mayfly secrets set STRIPE_KEY`/)
    for (const name of ['all', 'none']) assert.doesNotMatch(ok(['deploy', path.join(folder, name)]).stderr, /secret/)
    assert.deepEqual([(await call('named')).first, (await call('named')).other], [null, 'plain'])
    assert.match(ok(['secrets', 'set', 'STRIPE_KEY'], `${VALUE}\n`).stdout, /^Set STRIPE_KEY\./)
    assert.equal((await call('named')).first, digest(VALUE))
    assert.equal((await call('all')).first, digest(VALUE))
    assert.equal((await call('none')).first, null)
    assert.doesNotMatch(ok(['deploy', path.join(folder, 'named')]).stderr, /STRIPE_KEY/)
  })

  it('are listed by name and digest, and imported from a file of lines', async () => {
    writeFileSync(path.join(folder, '.env'), `# a comment\nexport OTHER="${'imported'}"\nSTRIPE_KEY=once\n`)
    assert.match(ok(['secrets', 'import', path.join(folder, '.env')]).stdout, /^Set OTHER, STRIPE_KEY\./)
    assert.deepEqual([(await call('named')).first, (await call('named')).other], [digest('once'), 'imported'])
    writeFileSync(path.join(folder, 'key'), VALUE)
    ok(['secrets', 'set', 'STRIPE_KEY', '--from-file', path.join(folder, 'key')])
    assert.match(ok(['secrets', 'set', 'STRIPE_KEY', '--from-file', path.join(folder, 'key')]).stdout, /^STRIPE_KEY: as before\./)
    const { secrets } = JSON.parse(ok(['secrets', 'ls', '--json']).stdout) as { secrets: Record<string, string>[] }
    assert.deepEqual(
      secrets.map((one) => Object.keys(one)),
      [
        ['name', 'digest', 'createdAt', 'modifiedAt'],
        ['name', 'digest', 'createdAt', 'modifiedAt'],
      ],
    )
    assert.match(ok(['secrets', 'ls']).stdout, /^NAME +DIGEST +SET AT +SINCE\nOTHER +[0-9a-f]{12} /)
  })

  it('restart what uses them when they change: calls under way end as they began, with their key', async () => {
    assert.equal((await call('none')).key, true)
    const before = ((await api('GET', '/api/v1/projects/demo/functions/named')).json.function as { revisionId: string }).revisionId
    const running = call('named', { ms: 1_500, ask: '/storage/v1/bucket' })
    await new Promise((done) => setTimeout(done, 500))
    ok(['secrets', 'set', 'STRIPE_KEY=changed'])
    assert.equal((await call('named')).first, digest('changed'))
    const { first, second, api: answer } = await running
    assert.deepEqual([first, second, answer?.[0]], [digest(VALUE), digest(VALUE), 200])
    // No deploy happened: the function is the same, and a second call finds the sandbox of the first.
    assert.equal(((await api('GET', '/api/v1/projects/demo/functions/named')).json.function as { revisionId: string }).revisionId, before)
    ok(['secrets', 'set', 'STRIPE_KEY'], VALUE)
  })

  it('are warned of in the plan of a project, too', () => {
    mkdirSync(path.join(folder, 'product'))
    writeFileSync(
      path.join(folder, 'product', 'mayfly.json'),
      JSON.stringify({ name: 'product', functions: [{ folder: 'fn', secrets: ['NOT_YET', 'STRIPE_KEY'] }] }),
    )
    mkdirSync(path.join(folder, 'product', 'fn'))
    writeFileSync(path.join(folder, 'product', 'fn', 'index.mjs'), 'export const handler = async () => process.env.STRIPE_KEY !== undefined')
    const done = ok(['deploy', path.join(folder, 'product')])
    assert.match(done.stderr + done.stdout, /fn: secrets: the project has no secret NOT_YET yet/)
    assert.doesNotMatch(done.stderr + done.stdout, /no secret STRIPE_KEY/)
  })

  it('refuse names of the platform and names that are none, wherever they are said', async () => {
    for (const name of ['AWS_SECRET_ACCESS_KEY', 'MAYFLY_KEY', 'SUPABASE_URL', 'a-b']) {
      const done = cli(['secrets', 'set', name], VALUE)
      assert.equal(done.code, 1)
      assert.match(done.stderr, /the platform's own|must be 1 to 128 letters/)
    }
    mkdirSync(path.join(folder, 'greedy'))
    writeFileSync(path.join(folder, 'greedy', 'index.mjs'), 'export const handler = async () => 1')
    writeFileSync(path.join(folder, 'greedy', 'mayfly.json'), '{"secrets":["MAYFLY_KEY"]}')
    assert.match(cli(['deploy', path.join(folder, 'greedy')]).stderr, /secrets\.0: must be 1 to 128 letters.*none of the platform's own/)
    writeFileSync(path.join(folder, 'stray.env'), '# all of it\nSTRAY="two\nlines"\n\nOTHER hush-hush\n')
    const wrong: [string[], RegExp][] = [
      [['secrets', 'set'], /say what/],
      [['secrets', 'set', 'A', 'B=1'], /one NAME without a value/],
      [['secrets', 'set', 'A=1', '--from-file', 'x'], /--from-file goes with one NAME/],
      [['secrets', 'set', 'A', '--from-file', path.join(folder, 'none-here')], /cannot be read/],
      [['secrets', 'import'], /say one file/],
      [['secrets', 'import', path.join(folder, 'stray.env')], /line 5 of .*stray\.env is not NAME=value.*nothing was set/],
      [['secrets', 'set', 'A'], /no value came for A; an empty one is `secrets set A=`/],
      [['secrets', 'rm'], /say which/],
      [['secrets', 'show', 'STRIPE_KEY'], /there is `secrets set`/],
    ]
    for (const [args, words] of wrong) {
      const done = cli(args)
      assert.deepEqual([done.code, words.test(done.stderr)], [2, true], done.stderr)
      assert.doesNotMatch(done.stderr, /hush/)
    }
    assert.doesNotMatch(ok(['secrets', 'ls']).stdout, /STRAY/)
    assert.equal(cli(['secrets', 'rm', 'OTHER', 'NONE']).code, 5)
    assert.match(ok(['secrets', 'ls']).stdout, /OTHER/)
  })

  it('open to no weaker key, no other project and no function', async () => {
    const at = '/api/v1/projects/demo/secrets'
    assert.equal((await api('GET', at, null, node.ready.project.publishableKey)).status, 403)
    assert.equal((await api('PUT', at, '{"secrets":{"A":"b"}}', node.ready.project.publishableKey)).status, 403)
    const operator = readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()
    const made = await api('POST', '/api/v1/projects', '{"ref":"other"}', operator)
    const { secretKey } = made.json.keys as { secretKey: string }
    assert.equal((await api('GET', at, null, secretKey)).status, 401)
    assert.deepEqual((await api('GET', '/api/v1/projects/other/secrets', null, secretKey)).json, { secrets: [] })
    assert.equal((await call('all', { ask: at })).api?.[0], 404)
  })

  it('stand in no answer, no log, no list of processes, no environment of one, and on no disk', async () => {
    await api('PUT', '/api/v1/projects/demo/secrets', `{"secrets":{"STRIPE_KEY":${VALUE}}}`)
    await api('PUT', '/api/v1/projects/demo/secrets', JSON.stringify({ secrets: { STRIPE_KEY: [VALUE] } }))
    await api('PUT', '/api/v1/projects/demo/secrets', JSON.stringify({ secrets: { AWS_KEY: VALUE } }))
    await api('GET', '/api/v1/projects/demo/secrets')
    await api('GET', '/api/v1/projects/demo/functions')
    await call('named', { fail: true })
    for (const Command of [GetFunctionCommand, GetFunctionConfigurationCommand]) said += JSON.stringify(await aws.send(new Command({ FunctionName: 'named' })))
    said += ok(['logs', 'named', '-n', '1000']).stdout
    assert.equal((await call('named')).first, digest(VALUE))
    assert.match(said, /REPORT RequestId/)
    // It is there in a form that escapes nothing, too.
    const forms = [VALUE, JSON.stringify(VALUE).slice(1, -1), 'sk_live_4f8a-hush', Buffer.from(VALUE).toString('base64').slice(0, -4)]
    const found = (text: string) => forms.find((form) => text.includes(form)) ?? null
    assert.equal(found(said), null)
    assert.equal(found(node.stderr()), null)
    assert.deepEqual(
      processes().filter((one) => found(one.args) !== null),
      [],
    )
    for (const { pid } of processes()) {
      if (pid === process.pid) continue
      let environment = ''
      try {
        environment = readFileSync(`/proc/${pid}/environ`, 'latin1')
      } catch {
        continue // it is gone, or another's
      }
      assert.ok(!environment.includes('sk_live_4f8a'), `the environment of ${pid}`)
    }
    const files = readdirSync(node.data, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    assert.ok(files.length > 100)
    for (const file of files) {
      const bytes = (() => {
        try {
          return readFileSync(path.join(file.parentPath, file.name))
        } catch {
          return Buffer.alloc(0) // removed meanwhile
        }
      })()
      assert.ok(!bytes.includes('sk_live_4f8a'), path.join(file.parentPath, file.name))
    }
  })

  it('are gone with their removal, and with their project', async () => {
    assert.match(ok(['secrets', 'rm', 'STRIPE_KEY', 'OTHER']).stdout, /^Removed STRIPE_KEY, OTHER\./)
    assert.deepEqual([(await call('named')).first, (await call('named')).other, (await call('all')).first], [null, 'plain', null])
    assert.match(ok(['secrets', 'ls']).stdout, /has no secrets/)
    const operator = readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()
    const there = async () => (await api('GET', '/api/v1/projects/other/secrets', null, operator)).json.secrets as unknown[]
    assert.equal((await api('PUT', '/api/v1/projects/other/secrets', '{"secrets":{"KEY":"v"}}', operator)).status, 200)
    assert.equal((await there()).length, 1)
    assert.equal((await api('DELETE', '/api/v1/projects/other', null, operator)).status, 204)
    assert.equal((await api('POST', '/api/v1/projects', '{"ref":"other"}', operator)).status, 201)
    assert.deepEqual(await there(), [])
  })

  it('outlive a start of the node', async () => {
    ok(['secrets', 'set', 'STRIPE_KEY'], VALUE)
    await node.stop()
    node = await startMayfly(path.join(folder, 'data'))
    assert.equal((await call('named')).first, digest(VALUE))
  })
})
