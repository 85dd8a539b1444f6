import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { AwsCli, type Said } from './awscli-fixture.ts'
import { makeFolder, makeQueue, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

// Debian's own packages, as they come: their clients are older and stricter than the newest SDK.
const AWS = '/usr/bin/aws'
const PYTHON = '/usr/bin/python3'
const noCli = existsSync(AWS) ? false : 'needs the package awscli'
const noBoto = existsSync('/usr/lib/python3/dist-packages/boto3') ? false : 'needs the package python3-boto3'

let folder = ''
let node: RunningMayfly
before(async () => {
  if (noCli && noBoto) return
  folder = makeFolder()
  mkdirSync(path.join(folder, 'home'))
  const code = (text: string) => zipOf({ 'index.mjs': `export const handler = async (event) => (console.log('seen', event.n), ${text})` })
  writeFileSync(path.join(folder, 'one.zip'), await code('({ one: event.n })'))
  writeFileSync(path.join(folder, 'two.zip'), await code('({ two: event.n })'))
  writeFileSync(path.join(folder, 'layer.zip'), await zipOf({ 'nodejs/node_modules/from-layer/index.js': `module.exports = 'from a layer'` }))
  writeFileSync(path.join(folder, 'requires.zip'), await zipOf({ 'index.js': `exports.handler = async () => require('from-layer')` }))
  node = await startMayfly(path.join(folder, 'data'))
})
after(async () => {
  await node?.stop()
  if (folder) removeFolder(folder)
})

const environment = () => {
  const { accessKey, region } = node.ready
  return {
    PATH: '/usr/bin:/bin',
    HOME: path.join(folder, 'home'),
    LANG: 'C.UTF-8',
    AWS_ACCESS_KEY_ID: accessKey.id,
    AWS_SECRET_ACCESS_KEY: accessKey.secret,
    AWS_DEFAULT_REGION: region,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_MAX_ATTEMPTS: '1',
    AWS_PAGER: '',
    NO_PROXY: '*',
  }
}
const run = (program: string, args: readonly string[]): Promise<Said> =>
  new Promise((resolve) => {
    execFile(program, args, { cwd: folder, timeout: 60_000, env: environment() }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? -1) : 0, stdout, stderr }),
    )
  })

describe('Debian’s awscli', { skip: noCli }, () => {
  let cli: AwsCli
  before(() => {
    cli = new AwsCli(PYTHON, folder, environment())
  })
  after(() => cli[Symbol.dispose]())
  const aws = async (...args: string[]) => {
    const result = await cli.run(['lambda', ...args, '--endpoint-url', node.ready.url, '--output', 'json'])
    assert.equal(result.code, 0, `${args[0]}: ${result.stderr}`)
    return (result.stdout.trim() === '' ? {} : JSON.parse(result.stdout)) as Record<string, never> & { [name: string]: unknown }
  }
  const fails = async (words: RegExp, ...args: string[]) => {
    const result = await cli.run(['lambda', ...args, '--endpoint-url', node.ready.url])
    assert.match(result.stderr, words)
    assert.equal(result.code, 254)
  }
  const answer = () => JSON.parse(readFileSync(path.join(folder, 'out.json'), 'utf8')) as unknown
  const invoke = (...args: string[]) => aws('invoke', '--function-name', 'cli', '--cli-binary-format', 'raw-in-base64-out', ...args, 'out.json')

  it('leads a function from its creation to its end', async () => {
    const made = await aws(
      ...['create-function', '--function-name', 'cli', '--runtime', 'nodejs24.x', '--handler', 'index.handler'],
      ...['--role', ROLE, '--zip-file', 'fileb://one.zip', '--environment', 'Variables={AB=c}'],
    )
    assert.equal(made.FunctionArn, 'arn:aws:lambda:us-east-1:000000000000:function:cli')
    await aws('wait', 'function-active-v2', '--function-name', 'cli')
    const plain = await invoke('--payload', '{"n":1}')
    assert.deepEqual([plain.StatusCode, plain.ExecutedVersion, answer()], [200, '$LATEST', { one: 1 }])
    const tail = await invoke('--payload', '{"n":2}', '--log-type', 'Tail')
    assert.match(Buffer.from(String(tail.LogResult), 'base64').toString(), /START RequestId: .*seen 2.*END RequestId: .*REPORT RequestId: /s)
    assert.equal((await invoke('--invocation-type', 'DryRun')).StatusCode, 204)
    await aws('update-function-code', '--function-name', 'cli', '--zip-file', 'fileb://two.zip')
    await aws('wait', 'function-updated-v2', '--function-name', 'cli')
    await invoke('--payload', '{"n":3}')
    assert.deepEqual(answer(), { two: 3 })
    await aws('update-function-configuration', '--function-name', 'cli', '--memory-size', '256', '--timeout', '9')
    await aws('wait', 'function-updated-v2', '--function-name', 'cli')
    const got = (await aws('get-function', '--function-name', 'cli')) as { Configuration?: Record<string, unknown> }
    assert.deepEqual([got.Configuration?.MemorySize, got.Configuration?.Timeout, got.Configuration?.State], [256, 9, 'Active'])
    assert.equal((await aws('get-function-configuration', '--function-name', 'cli')).MemorySize, 256)
    const { Functions: all } = (await aws('list-functions')) as unknown as { Functions: { FunctionName: string }[] }
    assert.ok(all.some((one) => one.FunctionName === 'cli'))
    await aws('delete-function', '--function-name', 'cli')
  })

  it('publishes versions, and shares the calls of an alias', async () => {
    await aws(
      ...['create-function', '--function-name', 'shown', '--runtime', 'nodejs24.x', '--handler', 'index.handler', '--role', ROLE],
      ...['--zip-file', 'fileb://one.zip', '--publish'],
    )
    await aws('wait', 'published-version-active', '--function-name', 'shown', '--qualifier', '1')
    await aws('update-function-code', '--function-name', 'shown', '--zip-file', 'fileb://two.zip')
    await aws('wait', 'function-updated-v2', '--function-name', 'shown')
    const published = await aws('publish-version', '--function-name', 'shown', '--description', 'the second')
    assert.deepEqual([published.Version, published.Description], ['2', 'the second'])
    const { Versions: versions } = (await aws('list-versions-by-function', '--function-name', 'shown')) as unknown as { Versions: { Version: string }[] }
    assert.deepEqual(
      versions.map((one) => one.Version),
      ['$LATEST', '1', '2'],
    )
    const made = await aws('create-alias', '--function-name', 'shown', '--name', 'live', '--function-version', '1')
    assert.equal(made.RoutingConfig, undefined)
    const call = async (qualifier: string) =>
      await aws(
        ...['invoke', '--function-name', 'shown', '--qualifier', qualifier],
        ...['--cli-binary-format', 'raw-in-base64-out', '--payload', '{"n":1}', 'out.json'],
      )
    assert.deepEqual([(await call('live')).ExecutedVersion, answer()], ['1', { one: 1 }])
    const shared = await aws(
      ...['update-alias', '--function-name', 'shown', '--name', 'live', '--revision-id', String(made.RevisionId)],
      ...['--routing-config', 'AdditionalVersionWeights={2=1}'],
    )
    assert.deepEqual(shared.RoutingConfig, { AdditionalVersionWeights: { 2: 1 } })
    assert.deepEqual([(await call('live')).ExecutedVersion, answer()], ['2', { two: 1 }])
    await fails(
      /\(PreconditionFailedException\).*UpdateAlias/,
      'update-alias',
      '--function-name',
      'shown',
      '--name',
      'live',
      '--revision-id',
      String(made.RevisionId),
    )
    await fails(/\(ResourceConflictException\).*DeleteFunction.*\[live\]/, 'delete-function', '--function-name', 'shown', '--qualifier', '2')
    await aws('delete-alias', '--function-name', 'shown', '--name', 'live')
    await aws('delete-function', '--function-name', 'shown:2')
    await fails(/\(ResourceNotFoundException\)/, 'get-function', '--function-name', 'shown:2')
    await aws('delete-function', '--function-name', 'shown')
  })

  it('publishes a layer, reads it, gives it to a function and deletes it', async () => {
    const made = await aws('publish-layer-version', '--layer-name', 'cli', '--zip-file', 'fileb://layer.zip', '--compatible-runtimes', 'nodejs24.x')
    assert.deepEqual([made.Version, made.LayerVersionArn], [1, 'arn:aws:lambda:us-east-1:000000000000:layer:cli:1'])
    assert.equal((await aws('get-layer-version-by-arn', '--arn', String(made.LayerVersionArn))).Version, 1)
    await aws(
      ...['create-function', '--function-name', 'layered', '--runtime', 'nodejs24.x', '--handler', 'index.handler', '--role', ROLE],
      ...['--zip-file', 'fileb://requires.zip', '--layers', String(made.LayerVersionArn)],
    )
    await aws('wait', 'function-active-v2', '--function-name', 'layered')
    await aws('invoke', '--function-name', 'layered', 'out.json')
    assert.equal(answer(), 'from a layer')
    await aws('delete-layer-version', '--layer-name', 'cli', '--version-number', '1')
    await fails(/\(ResourceNotFoundException\).*GetLayerVersion operation/, 'get-layer-version', '--layer-name', 'cli', '--version-number', '1')
    await aws('delete-function', '--function-name', 'layered')
  })

  it('is the program that people start', async () => {
    const args = ['lambda', 'list-functions', '--endpoint-url', node.ready.url, '--output', 'json']
    assert.deepEqual(await run(AWS, args), await cli.run(args))
  })

  it('tells errors by their names', async () => {
    await fails(/\(ResourceNotFoundException\).*GetFunction operation.*Function not found/, 'get-function', '--function-name', 'cli')
    await fails(
      /\(InvalidParameterValueException\).*CreateFunction operation.*runtime/i,
      ...['create-function', '--function-name', 'no', '--runtime', 'ruby3.2', '--handler', 'a.b', '--role', ROLE, '--zip-file', 'fileb://one.zip'],
    )
  })
})

describe('Debian’s python3-boto3', { skip: noBoto }, () => {
  it('leads a function from its creation to its end, and has its errors typed', async () => {
    const program = `
import base64, boto3, json, os, sys
url, role = sys.argv[1:3]
client = boto3.client('lambda', endpoint_url=url)
out = {}
with open('one.zip', 'rb') as one, open('two.zip', 'rb') as two:
    made = client.create_function(FunctionName='boto', Runtime='nodejs24.x', Handler='index.handler', Role=role, Code={'ZipFile': one.read()})
    client.get_waiter('function_active_v2').wait(FunctionName='boto')
    reply = client.invoke(FunctionName=made['FunctionArn'], Payload=b'{"n":1}', LogType='Tail')
    out['reply'] = [reply['StatusCode'], json.load(reply['Payload']), base64.b64decode(reply['LogResult']).decode()]
    out['dry'] = client.invoke(FunctionName='boto', InvocationType='DryRun')['StatusCode']
    client.update_function_code(FunctionName='boto', ZipFile=two.read())
    client.get_waiter('function_updated_v2').wait(FunctionName='boto')
out['two'] = json.load(client.invoke(FunctionName='boto', Payload=b'{"n":2}')['Payload'])
client.update_function_configuration(FunctionName='boto', MemorySize=192, Environment={'Variables': {'AB': 'c'}})
client.get_waiter('function_updated_v2').wait(FunctionName='boto')
got = client.get_function(FunctionName='boto')['Configuration']
out['got'] = [got['MemorySize'], got['Environment']['Variables'], got['State']]
out['names'] = [f['FunctionName'] for page in client.get_paginator('list_functions').paginate() for f in page['Functions']]
first = client.publish_version(FunctionName='boto')
client.get_waiter('published_version_active').wait(FunctionName='boto', Qualifier='1')
for n in range(2, 8):
    client.update_function_configuration(FunctionName='boto', Description='step %d' % n)
    client.publish_version(FunctionName='boto', CodeSha256=first['CodeSha256'])
pages = client.get_paginator('list_versions_by_function').paginate(FunctionName='boto', PaginationConfig={'PageSize': 3})
out['versions'] = [v['Version'] for page in pages for v in page['Versions']]
alias = client.create_alias(FunctionName='boto', Name='live', FunctionVersion='7')
out['alias'] = [alias['AliasArn'], 'RoutingConfig' in alias, client.get_alias(FunctionName=first['FunctionArn'][:-2], Name='live')['FunctionVersion']]
out['executed'] = client.invoke(FunctionName=alias['AliasArn'], Payload=b'{"n":2}')['ExecutedVersion']
def error(work):
    try:
        work()
    except client.exceptions.ClientError as e:
        return [type(e).__name__, e.response['Error']['Code'], e.response['ResponseMetadata']['HTTPStatusCode']]
out['revision'] = error(lambda: client.publish_version(FunctionName='boto', RevisionId=first['RevisionId']))
out['sha'] = error(lambda: client.publish_version(FunctionName='boto', CodeSha256='x'))
out['alias twice'] = error(lambda: client.create_alias(FunctionName='boto', Name='live', FunctionVersion='1'))
out['no version'] = error(lambda: client.update_alias(FunctionName='boto', Name='live', FunctionVersion='9'))
client.delete_function(FunctionName='boto')
with open('layer.zip', 'rb') as layer, open('requires.zip', 'rb') as code:
    layered = client.publish_layer_version(LayerName='boto', Content={'ZipFile': layer.read()}, CompatibleRuntimes=['nodejs24.x'])
    client.create_function(FunctionName='layered', Runtime='nodejs24.x', Handler='index.handler', Role=role, Code={'ZipFile': code.read()}, Layers=[layered['LayerVersionArn']])
client.get_waiter('function_active_v2').wait(FunctionName='layered')
out['layered'] = json.load(client.invoke(FunctionName='layered')['Payload'])
out['layerVersions'] = [v['Version'] for page in client.get_paginator('list_layer_versions').paginate(LayerName='boto') for v in page['LayerVersions']]
client.delete_function(FunctionName='layered')
out['layers'] = [l['LayerName'] for page in client.get_paginator('list_layers').paginate(CompatibleRuntime='nodejs24.x') for l in page['Layers']]
client.add_layer_version_permission(LayerName='boto', VersionNumber=1, StatementId='s', Action='lambda:GetLayerVersion', Principal='*')
out['statements'] = len(json.loads(client.get_layer_version_policy(LayerName='boto', VersionNumber=1)['Policy'])['Statement'])
out['noLayer'] = error(lambda: client.get_layer_version(LayerName='boto', VersionNumber=2))
out['gone'] = error(lambda: client.invoke(FunctionName='boto'))
out['unzip'] = error(lambda: client.create_function(FunctionName='no', Runtime='nodejs24.x', Handler='a.b', Role=role, Code={'ZipFile': b'no zip'}))
forger = boto3.client('lambda', endpoint_url=url, aws_access_key_id=os.environ['AWS_ACCESS_KEY_ID'], aws_secret_access_key='no')
out['forged'] = error(lambda: forger.list_functions())
print(json.dumps(out))
`
    writeFileSync(path.join(folder, 'boto.py'), program)
    const { code, stdout, stderr } = await run(PYTHON, [path.join(folder, 'boto.py'), node.ready.url, ROLE])
    assert.equal(code, 0, stderr)
    const out = JSON.parse(stdout) as Record<string, unknown>
    const [status, value, log] = out.reply as [number, unknown, string]
    assert.deepEqual([status, value, out.dry, out.two], [200, { one: 1 }, 204, { two: 2 }])
    assert.match(log, /seen 1/)
    assert.deepEqual(out.got, [192, { AB: 'c' }, 'Active'])
    assert.ok((out.names as string[]).includes('boto'))
    assert.deepEqual(out.versions, ['$LATEST', '1', '2', '3', '4', '5', '6', '7'])
    assert.deepEqual([out.alias, out.executed], [['arn:aws:lambda:us-east-1:000000000000:function:boto:live', false, '7'], '7'])
    assert.deepEqual(out.revision, ['PreconditionFailedException', 'PreconditionFailedException', 412])
    assert.deepEqual(out.sha, ['InvalidParameterValueException', 'InvalidParameterValueException', 400])
    assert.deepEqual(out['alias twice'], ['ResourceConflictException', 'ResourceConflictException', 409])
    assert.deepEqual(out['no version'], ['ResourceNotFoundException', 'ResourceNotFoundException', 404])
    assert.deepEqual([out.layered, out.layerVersions, out.statements], ['from a layer', [1], 1])
    assert.ok((out.layers as string[]).includes('boto'))
    assert.deepEqual(out.noLayer, ['ResourceNotFoundException', 'ResourceNotFoundException', 404])
    assert.deepEqual(out.gone, ['ResourceNotFoundException', 'ResourceNotFoundException', 404])
    assert.deepEqual(out.unzip, ['InvalidParameterValueException', 'InvalidParameterValueException', 400])
    assert.deepEqual((out.forged as unknown[]).slice(1), ['InvalidSignatureException', 403])
  })

  it('sets policies, event sources, asynchronous calls and what else belongs to a function', async () => {
    const program = `
import boto3, json, sys
url, role = sys.argv[1:3]
client = boto3.client('lambda', endpoint_url=url)
name = dict(FunctionName='set')
out = {}
def said(reply):
    return {k: v for k, v in reply.items() if k != 'ResponseMetadata'}
with open('one.zip', 'rb') as one:
    client.create_function(Runtime='nodejs24.x', Handler='index.handler', Role=role, Code={'ZipFile': one.read()}, **name)
client.get_waiter('function_active_v2').wait(**name)
added = client.add_permission(StatementId='s', Action='lambda:InvokeFunction', Principal='s3.amazonaws.com', **name)
out['policy'] = json.loads(client.get_policy(**name)['Policy'])['Statement'] == [json.loads(added['Statement'])]
client.remove_permission(StatementId='s', **name)
made = client.create_event_source_mapping(EventSourceArn='arn:aws:sqs:us-east-1:000000000000:q', BatchSize=5, **name)
uuid = dict(UUID=made['UUID'])
out['states'] = [made['State'], client.update_event_source_mapping(Enabled=False, **uuid)['State'], client.get_event_source_mapping(**uuid)['State']]
out['dated'] = type(made['LastModified']).__name__
out['sources'] = [m['UUID'] for page in client.get_paginator('list_event_source_mappings').paginate(**name) for m in page['EventSourceMappings']] == [made['UUID']]
out['states'].append(client.delete_event_source_mapping(**uuid)['State'])
client.put_function_event_invoke_config(MaximumRetryAttempts=0, **name)
out['tries'] = client.update_function_event_invoke_config(MaximumEventAgeInSeconds=60, **name)['MaximumRetryAttempts']
out['configs'] = len([c for page in client.get_paginator('list_function_event_invoke_configs').paginate(**name) for c in page['FunctionEventInvokeConfigs']])
client.delete_function_event_invoke_config(**name)
arn = 'arn:aws:lambda:us-east-1:000000000000:function:set'
client.tag_resource(Resource=arn, Tags={'a': '1', 'b': '2'})
client.untag_resource(Resource=arn, TagKeys=['a', 'c'])
out['tags'] = client.list_tags(Resource=arn)['Tags']
out['account'] = client.get_account_settings()['AccountLimit']['CodeSizeZipped']
out['signing'] = [said(client.get_function_code_signing_config(**name)), client.list_code_signing_configs()['CodeSigningConfigs']]
def error(work):
    try:
        work()
    except client.exceptions.ClientError as e:
        return [type(e).__name__, e.response['Error']['Code']]
out['gone'] = error(lambda: client.get_policy(**name))
out['twice'] = error(lambda: [client.add_permission(StatementId='t', Action='*', Principal='*', **name) for _ in range(2)])
out['unsigned'] = error(lambda: client.put_function_code_signing_config(CodeSigningConfigArn='arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-0123456789abcdef0', **name))
client.delete_function(**name)
print(json.dumps(out))
`
    await makeQueue(node.ready, 'q')
    writeFileSync(path.join(folder, 'set.py'), program)
    const { code, stdout, stderr } = await run(PYTHON, [path.join(folder, 'set.py'), node.ready.url, ROLE])
    assert.equal(code, 0, stderr)
    assert.deepEqual(JSON.parse(stdout), {
      policy: true,
      states: ['Creating', 'Disabling', 'Disabled', 'Deleting'],
      dated: 'datetime',
      sources: true,
      tries: 0,
      configs: 1,
      tags: { b: '2' },
      account: 52_428_800,
      signing: [{}, []],
      gone: ['ResourceNotFoundException', 'ResourceNotFoundException'],
      twice: ['ResourceConflictException', 'ResourceConflictException'],
      unsigned: ['CodeSigningConfigNotFoundException', 'CodeSigningConfigNotFoundException'],
    })
  })
})
