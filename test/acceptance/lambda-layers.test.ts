import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import {
  AddLayerVersionPermissionCommand,
  CreateFunctionCommand,
  DeleteFunctionCommand,
  DeleteLayerVersionCommand,
  GetFunctionConfigurationCommand,
  GetLayerVersionByArnCommand,
  GetLayerVersionCommand,
  GetLayerVersionPolicyCommand,
  InvokeCommand,
  type LambdaClient,
  LambdaServiceException,
  ListLayersCommand,
  PublishLayerVersionCommand,
  paginateListLayerVersions,
  RemoveLayerVersionPermissionCommand,
  UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand,
  waitUntilFunctionActiveV2,
  waitUntilFunctionUpdatedV2,
} from '@aws-sdk/client-lambda'
import yazl from 'yazl'
import { awsOf } from './aws.ts'
import { makeFolder, mayfly, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

const PROGRAM = 0o100755
const LINK = 0o120777

/** An archive with programs and links in it. */
async function archive(files: Readonly<Record<string, string | readonly [text: string, mode: number]>>): Promise<Buffer> {
  const zip = new yazl.ZipFile()
  for (const [name, file] of Object.entries(files)) {
    const [text, mode] = typeof file === 'string' ? [file, 0o100644] : file
    zip.addBuffer(Buffer.from(text), name, { mode })
  }
  zip.end()
  return Buffer.concat((await Array.fromAsync(zip.outputStream)) as Buffer[])
}

const HANDLER = `
const { execFileSync } = require('node:child_process'), fs = require('node:fs')
let from
try { from = require('from-layer') } catch (error) { from = error.code }
exports.handler = async () => {
  const run = (...args) => { try { return execFileSync(...args, { encoding: 'utf8' }).trim() } catch (error) { return error.code } }
  const mode = (at) => { try { return (fs.statSync(at).mode & 0o777).toString(8) } catch (error) { return error.code } }
  const write = (at) => { try { fs.writeFileSync(at, 'x'); return 'written' } catch (error) { return error.code } }
  const own = await import('./own.mjs').catch((error) => error.code)
  return { from, again: own.from ?? own, tool: run('/opt/bin/tool'), byPath: run('tool'), linked: run('/opt/bin/linked'), mode: mode('/opt/bin/tool'), data: mode('/opt/data'),
    wrote: [write('/opt/data'), write('/opt/new'), write('/opt/bin/tool'), write('/var/task/index.js')], where: [__filename, process.cwd(), process.env.LAMBDA_TASK_ROOT],
    variables: ['PATH', 'LD_LIBRARY_PATH', 'NODE_PATH'].map((name) => process.env[name].split(':').filter((part) => part.startsWith('/opt'))) }
}`
const OWN = `import { createRequire } from 'node:module'\nlet from\ntry { from = createRequire(import.meta.url)('from-layer') } catch (error) { from = error.code }\nexport { from }`
const layer = (text: string) =>
  archive({
    'nodejs/node_modules/from-layer/index.js': `module.exports = '${text}'`,
    'bin/tool': [`#!/bin/sh\necho ${text} tool\n`, PROGRAM],
    'bin/linked': ['tool', LINK],
    data: text,
  })

let folder = ''
let node: RunningMayfly
let aws: LambdaClient
const ARN = 'arn:aws:lambda:us-east-1:000000000000:layer'

const publish = async (LayerName: string, ZipFile: Buffer) => await aws.send(new PublishLayerVersionCommand({ LayerName, Content: { ZipFile } }))
async function create(FunctionName: string, Layers: string[], Code: { ZipFile: Buffer } | { S3Bucket: string; S3Key: string }): Promise<void> {
  await aws.send(new CreateFunctionCommand({ FunctionName, Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, Timeout: 20, Layers, Code }))
  await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName })
}
async function invoke(FunctionName: string) {
  const reply = await aws.send(new InvokeCommand({ FunctionName, Payload: Buffer.from('{}') }))
  const text = Buffer.from(reply.Payload ?? []).toString()
  assert.equal(reply.FunctionError, undefined, text)
  return JSON.parse(text)
}
const failsAs = async (work: Promise<unknown>, name: string, status: number, message: RegExp | string) =>
  await assert.rejects(work, (error: unknown) => {
    assert.ok(error instanceof LambdaServiceException, String(error))
    assert.deepEqual([error.name, error.$metadata.httpStatusCode], [name, status], error.message)
    if (message instanceof RegExp) assert.match(error.message, message)
    else assert.equal(error.message, message)
    return true
  })

describe('layers', () => {
  before(async () => {
    folder = makeFolder()
    node = await startMayfly(`${folder}/data`)
    aws = awsOf(node.ready)
  })
  after(async () => {
    aws?.destroy()
    await node?.stop()
    removeFolder(folder)
  })

  it('are published, read, listed, downloaded and shared as the SDK expects it', async () => {
    const zip = await layer('below')
    const made = await aws.send(
      new PublishLayerVersionCommand({
        LayerName: 'below',
        Content: { ZipFile: zip },
        Description: 'd',
        LicenseInfo: 'MIT',
        CompatibleRuntimes: ['nodejs24.x'],
        CompatibleArchitectures: [process.arch === 'arm64' ? 'arm64' : 'x86_64'],
      }),
    )
    assert.deepEqual([made.LayerVersionArn, made.Version, made.Description, made.CompatibleRuntimes], [`${ARN}:below:1`, 1, 'd', ['nodejs24.x']])
    const downloaded = await fetch(made.Content?.Location as string)
    assert.equal(downloaded.headers.get('content-type'), 'application/zip')
    assert.ok(Buffer.from(await downloaded.arrayBuffer()).equals(zip))
    const got = await aws.send(new GetLayerVersionCommand({ LayerName: `${ARN}:below`, VersionNumber: 1 }))
    const byArn = await aws.send(new GetLayerVersionByArnCommand({ Arn: `${ARN}:below:1` }))
    assert.deepEqual([got.Content?.CodeSha256, byArn.Content?.CodeSha256], [made.Content?.CodeSha256, made.Content?.CodeSha256])
    const { Layers } = await aws.send(new ListLayersCommand({ CompatibleRuntime: 'nodejs24.x' }))
    assert.deepEqual([Layers?.length, Layers?.[0]?.LatestMatchingVersion?.Version], [1, 1])
    assert.deepEqual((await aws.send(new ListLayersCommand({ CompatibleRuntime: 'python3.13' }))).Layers, [])
    for (let n = 0; n < 3; n++) await publish('paged', zip)
    const numbers: (number | undefined)[] = []
    for await (const page of paginateListLayerVersions({ client: aws, pageSize: 2 }, { LayerName: 'paged' }))
      numbers.push(...(page.LayerVersions ?? []).map((one) => one.Version))
    assert.deepEqual(numbers, [3, 2, 1])
    const place = { LayerName: 'below', VersionNumber: 1 }
    const added = await aws.send(new AddLayerVersionPermissionCommand({ ...place, StatementId: 'all', Action: 'lambda:GetLayerVersion', Principal: '*' }))
    assert.equal(JSON.parse(added.Statement as string).Resource, `${ARN}:below:1`)
    const policy = await aws.send(new GetLayerVersionPolicyCommand(place))
    assert.equal(policy.Policy, `{"Version":"2012-10-17","Id":"default","Statement":[${added.Statement}]}`)
    await aws.send(new RemoveLayerVersionPermissionCommand({ ...place, StatementId: 'all' }))
    await failsAs(aws.send(new GetLayerVersionPolicyCommand(place)), 'ResourceNotFoundException', 404, 'No policy is associated with the given resource.')
    await failsAs(
      aws.send(new GetLayerVersionCommand({ LayerName: 'below', VersionNumber: 9 })),
      'ResourceNotFoundException',
      404,
      'The resource you requested does not exist.',
    )
    await failsAs(
      aws.send(new GetLayerVersionCommand({ LayerName: 'below', VersionNumber: 0 })),
      'InvalidParameterValueException',
      400,
      'Layer Version Cannot be less than 1',
    )
  })

  it('give modules, programs with their exec bits and links to a function, read-only, and the later of two wins', async () => {
    await publish('above', await archive({ 'nodejs/node_modules/from-layer/index.js': `module.exports = 'above'`, 'only/above': '' }))
    const code = { ZipFile: await zipOf({ 'index.js': HANDLER, 'own.mjs': OWN }) }
    await create('one', [`${ARN}:below:1`], code)
    const { from, again, ...rest } = await invoke('one')
    assert.deepEqual([from, again], ['below', 'below'])
    assert.deepEqual(rest, {
      tool: 'below tool',
      byPath: 'below tool',
      linked: 'below tool',
      mode: '555',
      data: '444',
      wrote: ['EROFS', 'EROFS', 'EROFS', 'EROFS'],
      where: ['/var/task/index.js', '/var/task', '/var/task'],
      variables: [['/opt/bin'], ['/opt/lib'], ['/opt/nodejs/node24/node_modules', '/opt/nodejs/node_modules']],
    })
    await create('both', [`${ARN}:below:1`, `${ARN}:above:1`], code)
    const both = await invoke('both')
    assert.deepEqual([both.from, both.tool], ['above', 'below tool'])
    await create('turned', [`${ARN}:above:1`, `${ARN}:below:1`], code)
    assert.equal((await invoke('turned')).from, 'below')
    const told = await aws.send(new GetFunctionConfigurationCommand({ FunctionName: 'both' }))
    assert.deepEqual(
      told.Layers?.map((one) => one.Arn),
      [`${ARN}:below:1`, `${ARN}:above:1`],
    )
    assert.ok(told.Layers?.every((one) => (one.CodeSize ?? 0) > 0))
    await aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'turned', Layers: [] }))
    await waitUntilFunctionUpdatedV2({ client: aws, maxWaitTime: 20 }, { FunctionName: 'turned' })
    const bare = await invoke('turned')
    assert.deepEqual([bare.from, bare.tool, bare.data], ['MODULE_NOT_FOUND', 'ENOENT', 'ENOENT'])
    await failsAs(
      aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'turned', Layers: [`${ARN}:none:1`] })),
      'InvalidParameterValueException',
      400,
      `Layer version ${ARN}:none:1 does not exist.`,
    )
  })

  it('bring the bootstrap of a provided runtime, whose exec bit counts', async () => {
    const bootstrap = `#!/bin/sh
exec /var/lang/bin/node -e '
(async () => { for (;;) {
  const api = "http://" + process.env.AWS_LAMBDA_RUNTIME_API + "/2018-06-01/runtime/invocation/"
  const next = await fetch(api + "next")
  const event = await next.json()
  await fetch(api + next.headers.get("lambda-runtime-aws-request-id") + "/response", { method: "POST", body: JSON.stringify({ event, opt: require("node:fs").readdirSync("/opt").sort() }) })
} })()'
`
    const made = await publish('runtime', await archive({ bootstrap: [bootstrap, PROGRAM], 'lib/empty': '' }))
    const dull = await publish('dull', await archive({ bootstrap }))
    const code = { ZipFile: await zipOf({ data: 'x' }) }
    const custom = { Runtime: 'provided.al2023', Handler: 'any', Role: ROLE, Timeout: 20, Code: code } as const
    for (const [FunctionName, arn] of [
      ['custom', made.LayerVersionArn],
      ['custom-dull', dull.LayerVersionArn],
    ] as const) {
      await aws.send(new CreateFunctionCommand({ ...custom, FunctionName, Layers: [arn as string] }))
      await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName })
    }
    assert.deepEqual(await invoke('custom'), { event: {}, opt: ['bootstrap', 'lib'] })
    const reply = await aws.send(new InvokeCommand({ FunctionName: 'custom-dull', Payload: Buffer.from('{}') }))
    assert.match(Buffer.from(reply.Payload ?? []).toString(), /Runtime.InvalidEntrypoint/)
  })

  it('bring an extension that registers before the first call', async () => {
    const extension = `#!/var/lang/bin/node
const fs = require('node:fs')
const api = 'http://' + process.env.AWS_LAMBDA_RUNTIME_API + '/2020-01-01/extension/'
const start = async () => {
  const made = await fetch(api + 'register', { method: 'POST', headers: { 'lambda-extension-name': 'probe' }, body: JSON.stringify({ events: ['INVOKE'] }) })
  const id = made.headers.get('lambda-extension-identifier')
  const { functionName } = await made.json()
  fs.writeFileSync('/tmp/registered', made.status + ' ' + functionName)
  for (;;) await (await fetch(api + 'event/next', { headers: { 'lambda-extension-identifier': id } })).text()
}
void start()
`
    const made = await publish('extension', await archive({ 'extensions/probe': [extension, PROGRAM], 'only/data': 'x' }))
    const bootstrap = `#!/var/lang/bin/node
const serve = async () => { for (;;) {
  const api = 'http://' + process.env.AWS_LAMBDA_RUNTIME_API + '/2018-06-01/runtime/invocation/'
  const next = await fetch(api + 'next')
  await next.text()
  await fetch(api + next.headers.get('lambda-runtime-aws-request-id') + '/response', { method: 'POST', body: JSON.stringify(require('node:fs').readFileSync('/tmp/registered', 'utf8')) })
} }
void serve()
`
    await aws.send(
      new CreateFunctionCommand({
        FunctionName: 'extended',
        Runtime: 'provided.al2023',
        Handler: 'any',
        Role: ROLE,
        Timeout: 20,
        MemorySize: 256,
        Code: { ZipFile: await archive({ bootstrap: [bootstrap, PROGRAM] }) },
        Layers: [made.LayerVersionArn as string],
      }),
    )
    await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName: 'extended' })
    assert.equal(await invoke('extended'), '200 extended')
  })

  it('bring a program that starts the runtime of Node, by AWS_LAMBDA_EXEC_WRAPPER', async () => {
    const wrapper = `#!/bin/bash\nargs=("$@")\nexport SEEN="\${args[0]} \${args[-1]}"\nexec "\${args[@]:0:$#-1}" --require /opt/first.cjs "\${args[@]: -1}"\n`
    const made = await publish('wrapper', await archive({ wrapper: [wrapper, PROGRAM], 'first.cjs': `globalThis.first = 'loaded first'` }))
    await aws.send(
      new CreateFunctionCommand({
        FunctionName: 'wrapped',
        Runtime: 'nodejs24.x',
        Handler: 'index.handler',
        Role: ROLE,
        Timeout: 20,
        MemorySize: 256,
        Environment: { Variables: { AWS_LAMBDA_EXEC_WRAPPER: '/opt/wrapper', OWN: 'own' } },
        Code: {
          ZipFile: await zipOf({
            'index.js': `exports.handler = async (event, { functionName }) => [first, process.env.SEEN, process.env.OWN, functionName, (await fetch(process.env.MAYFLY_URL + '/storage/v1/bucket', { headers: { apikey: process.env.MAYFLY_KEY } })).status]`,
          }),
        },
        Layers: [made.LayerVersionArn as string],
      }),
    )
    await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName: 'wrapped' })
    for (const _ of [1, 2])
      assert.deepEqual(await invoke('wrapped'), ['loaded first', '/var/lang/bin/node /var/runtime/node/bootstrap.mjs', 'own', 'wrapped', 200])
    await aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'wrapped', Environment: { Variables: { AWS_LAMBDA_EXEC_WRAPPER: '/opt/none' } } }))
    await assert.rejects(waitUntilFunctionUpdatedV2({ client: aws, maxWaitTime: 20 }, { FunctionName: 'wrapped' }))
    const { LastUpdateStatusReason } = await aws.send(new GetFunctionConfigurationCommand({ FunctionName: 'wrapped' }))
    assert.equal(LastUpdateStatusReason, 'Runtime.InvalidEntrypoint: Error: fork/exec /opt/none: no such file or directory')
    assert.equal((await invoke('wrapped'))[0], 'loaded first', 'the version before goes on')
  })

  it('go on for functions that use them when they are deleted, also after a restart', async () => {
    await aws.send(new DeleteLayerVersionCommand({ LayerName: 'below', VersionNumber: 1 }))
    await failsAs(aws.send(new GetLayerVersionByArnCommand({ Arn: `${ARN}:below:1` })), 'ResourceNotFoundException', 404, /does not exist/)
    await failsAs(
      create('late', [`${ARN}:below:1`], { ZipFile: await zipOf({ 'index.js': HANDLER }) }),
      'InvalidParameterValueException',
      400,
      /does not exist/,
    )
    assert.equal((await invoke('one')).from, 'below')
    await aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'one', MemorySize: 192 }))
    await waitUntilFunctionUpdatedV2({ client: aws, maxWaitTime: 20 }, { FunctionName: 'one' })
    assert.equal((await invoke('one')).tool, 'below tool')
    assert.equal((await publish('below', await layer('second'))).Version, 2)
    await node.stop()
    node = await startMayfly(node.data)
    aws.destroy()
    aws = awsOf(node.ready)
    assert.deepEqual(await invoke('one').then(({ from, tool, mode }) => [from, tool, mode]), ['below', 'below tool', '555'])
    assert.equal((await invoke('both')).from, 'above')
    assert.equal((await publish('below', await layer('third'))).Version, 3)
  })

  it('are taken from a bucket of the project, as code is', async () => {
    const headers = { apikey: node.ready.project.secretKey, authorization: `Bearer ${node.ready.project.secretKey}` }
    const put = async (key: string, bytes: Buffer) =>
      assert.equal((await fetch(`${node.ready.url}/storage/v1/object/code/${key}`, { method: 'POST', headers, body: new Uint8Array(bytes) })).status, 200)
    const made = await fetch(`${node.ready.url}/storage/v1/bucket`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ id: 'code', public: false }),
    })
    assert.equal(made.status, 200)
    await put('dir/layer.zip', await layer('bucket'))
    await put('dir/one.zip', await zipOf({ 'index.js': HANDLER, 'own.mjs': OWN }))
    await put('dir/two.zip', await zipOf({ 'index.js': `exports.handler = async () => require('from-layer') + ' two'` }))
    const published = await aws.send(new PublishLayerVersionCommand({ LayerName: 'bucket', Content: { S3Bucket: 'code', S3Key: 'dir/layer.zip' } }))
    await create('bucket', [published.LayerVersionArn as string], { S3Bucket: 'code', S3Key: 'dir/one.zip' })
    assert.equal((await invoke('bucket')).from, 'bucket')
    await aws.send(new UpdateFunctionCodeCommand({ FunctionName: 'bucket', S3Bucket: 'code', S3Key: 'dir/two.zip' }))
    await waitUntilFunctionUpdatedV2({ client: aws, maxWaitTime: 20 }, { FunctionName: 'bucket' })
    assert.equal(await invoke('bucket'), 'bucket two')
    await failsAs(
      aws.send(new UpdateFunctionCodeCommand({ FunctionName: 'bucket', S3Bucket: 'code', S3Key: 'dir/none.zip' })),
      'InvalidParameterValueException',
      400,
      'Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.',
    )
    await failsAs(
      aws.send(new UpdateFunctionCodeCommand({ FunctionName: 'bucket', S3Bucket: 'none', S3Key: 'dir/none.zip' })),
      'InvalidParameterValueException',
      400,
      /S3 Error Code: NoSuchBucket/,
    )
    await aws.send(new DeleteFunctionCommand({ FunctionName: 'bucket' }))
  })

  it('are published from a folder and removed by the command line, and used by mayfly.json', async () => {
    const tools = `${folder}/tools`
    mkdirSync(`${tools}/bin`, { recursive: true })
    mkdirSync(`${tools}/nodejs/node_modules/from-layer`, { recursive: true })
    writeFileSync(`${tools}/nodejs/node_modules/from-layer/index.js`, `module.exports = 'folder'`)
    writeFileSync(`${tools}/bin/tool`, '#!/bin/sh\necho folder tool\n')
    chmodSync(`${tools}/bin/tool`, 0o755)
    symlinkSync('tool', `${tools}/bin/linked`)
    const on = ['--data', node.data]
    const published = mayfly(['layers', 'publish', 'folder', tools, '--description', 'of a folder', ...on])
    assert.equal(published.code, 0, published.stderr)
    assert.match(published.stdout, /Published folder:1, .*"layers": \["folder:1"\]/)
    writeFileSync(`${folder}/again.zip`, await layer('zip'))
    assert.equal(JSON.parse(mayfly(['layers', 'publish', 'folder', `${folder}/again.zip`, '--json', ...on]).stdout).layer.version, 2)
    assert.match(mayfly(['layers', 'ls', ...on]).stdout, /folder:2/)
    const versions = JSON.parse(mayfly(['layers', 'ls', 'folder', '--json', ...on]).stdout).layers
    assert.deepEqual(
      versions.map((one: { version: number; description: string }) => [one.version, one.description]),
      [
        [2, ''],
        [1, 'of a folder'],
      ],
    )
    const own = `${folder}/by-file`
    mkdirSync(own)
    writeFileSync(
      `${own}/index.ts`,
      `import { execFileSync } from 'node:child_process'\nimport from from 'from-layer'\nexport const handler = async (): Promise<string[]> => [execFileSync('linked', { encoding: 'utf8' }).trim(), from, require('from-layer')]`,
    )
    const unbundled = mayfly(['deploy', own, ...on])
    assert.deepEqual([unbundled.code, /Could not resolve "from-layer"/.test(unbundled.stderr)], [1, true], unbundled.stderr)
    writeFileSync(`${own}/mayfly.json`, JSON.stringify({ layers: ['folder:1'] }))
    const deployed = mayfly(['deploy', own, ...on])
    assert.equal(deployed.code, 0, deployed.stderr)
    assert.deepEqual(JSON.parse(mayfly(['invoke', 'by-file', ...on]).stdout), ['folder tool', 'folder', 'folder'])
    assert.equal(mayfly(['layers', 'rm', 'folder:1', ...on]).code, 0)
    assert.match(mayfly(['deploy', own, ...on]).stdout, /Nothing changes/)
    const gone = mayfly(['layers', 'rm', 'folder:1', ...on])
    assert.deepEqual([gone.code, /layer_not_found/.test(gone.stderr)], [5, true], gone.stderr)
    assert.deepEqual(JSON.parse(mayfly(['invoke', 'by-file', ...on]).stdout), ['folder tool', 'folder', 'folder'])
    writeFileSync(`${own}/mayfly.json`, JSON.stringify({ layers: ['folder:9'] }))
    const refused = mayfly(['deploy', own, ...on])
    assert.deepEqual([refused.code, /Layer version arn:\S+:folder:9 does not exist/.test(refused.stderr)], [1, true], refused.stderr)
    for (const wrong of [
      ['layers', 'rm', 'folder'],
      ['layers', 'publish', 'folder'],
      ['layers', 'show'],
    ])
      assert.equal(mayfly([...wrong, ...on]).code, 2)
    assert.equal(mayfly(['layers', 'publish', 'folder', `${folder}/none`, ...on]).code, 1)
  })
})
