import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import type { EmbeddedDatabases } from '../backends/database/embedded.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import type { Database } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import type { Principal } from '../core/principal.ts'
import type { ProjectRef } from '../core/project.ts'
import type { Reply, RequestContext, Route } from '../core/route.ts'
import { Sealer } from '../core/seal.ts'
import { insertProject, updateProjectState } from '../core/store.ts'
import { systemClock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { Artefacts, sha256Hex } from './artefacts.ts'
import { Concurrency } from './concurrency/concurrency.ts'
import { lambdaRoutes } from './dialects/lambda/index.ts'
import { routes } from './http.ts'
import { ArtefactLinks } from './links.ts'
import { FunctionsService } from './service.ts'
import { FunctionSettings } from './settings/service.ts'
import { StoredArchives } from './stored-archives.ts'
import type { Version } from './types.ts'
import { makeZip } from './zip-fixture.ts'
import { FunctionUrls } from './urls/service.ts'
import { listOf, type Told, told, textOf } from '../lib/told-fixture.ts'

const ONE = 'one' as ProjectRef
const TWO = 'two' as ProjectRef
const ZIP = makeZip([{ name: 'index.js', data: 'exports.handler = async () => 1' }])
const OTHER_ZIP = makeZip([{ name: 'index.js', data: 'exports.handler = async () => 2' }])
const ROLE = 'arn:aws:iam::123456789012:role/x'

let folder: string
let databases: EmbeddedDatabases
let control: Database
let artefacts: Artefacts
let functions: FunctionsService
let table: Route[]
let now = Date.now()
const built: Version[] = []
const retired: string[] = []
let deleted: (project: ProjectRef) => Promise<void> = async () => {}
let build: (version: Version) => Promise<void> = async (version) => void built.push(version)

before(async () => {
  ;({ databases, folder } = await openTestDatabases())
  control = databases.control
  const sealer = new Sealer(randomBytes(32))
  for (const ref of [ONE, TWO]) {
    const id = uuidv7(now)
    const dataKey = sealer.makeDataKey(id)
    sealer.useDataKey(id, dataKey)
    await insertProject(control.sql, { id, ref, name: ref, dataKey })
    await updateProjectState(control.sql, ref, 'active')
  }
  artefacts = new Artefacts({ root: join(folder, 'artefacts') })
  await artefacts.recover()
  functions = new FunctionsService({
    control,
    artefacts,
    sealer,
    clock: systemClock,
    log: silentLog,
    build: (version) => build(version),
    retired: (id) => void retired.push(id),
    deleted: (project) => deleted(project),
    egressWarning: (egress) => (egress === 'internet' ? null : 'egress: not here'),
  })
  const links = new ArtefactLinks({ ...systemClock, now: () => now })
  table = [
    ...routes({ functions, links }),
    ...lambdaRoutes({
      functions,
      concurrency: new Concurrency({ control, clock: systemClock }),
      provisioned: () => null,
      links,
      settings: new FunctionSettings({ control, clock: systemClock }),
      archives: new StoredArchives(async () => 'NoSuchBucket'),
      urls: new FunctionUrls({ control, functionId: async (ref, name) => (await functions.find(ref, name))?.id ?? null }),
      urlAddress: (origin, id) => `${origin}/lambda-url/${id}/`,
      hasQueue: () => null,
      architecture: 'x86_64',
    }),
  ]
})

after(async () => {
  await databases?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

const accessKey = (project: ProjectRef): Principal => ({ kind: 'access-key', project, keyId: 'AKTEST' })

interface Answer {
  status: number
  headers: NonNullable<Reply['headers']>
  body: Told
  bytes: Buffer
}

async function send(method: string, url: string, body: unknown = undefined, principal: Principal = accessKey(ONE), region = 'us-east-1'): Promise<Answer> {
  const [path = '', rawQuery = ''] = url.split('?')
  const parts = path.slice(1).split('/')
  const params: Record<string, string> = {}
  const fits = (route: Route) => {
    if (route.method !== method && route.method !== '*') return false
    const wanted = route.path.slice(1).split('/')
    if (wanted.at(-1) !== '*' && wanted.length !== parts.length) return false
    return wanted.every((segment, index) => segment === '*' || segment.startsWith(':') || segment === parts[index])
  }
  const route = table.find(fits)
  assert(route, `${method} ${url} has no route`)
  for (const [index, segment] of route.path.slice(1).split('/').entries()) {
    if (segment.startsWith(':')) params[segment.slice(1)] = decodeURIComponent(parts[index] ?? '')
  }
  const bytes = body === undefined ? Buffer.alloc(0) : Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body))
  const id = randomUUID()
  const project = params.ref ?? ('project' in principal ? principal.project : null)
  const context: RequestContext = {
    id,
    method,
    rawPath: path,
    rawQuery,
    query: new URLSearchParams(rawQuery),
    headers: {
      authorization: `AWS4-HMAC-SHA256 Credential=AKTEST/20261124/${region}/lambda/aws4_request, SignedHeaders=host, Signature=0`,
    },
    rawHeaders: [],
    params,
    principal,
    project: project === null ? null : { id, ref: project as ProjectRef, name: project, state: 'active' },
    remoteAddress: '127.0.0.1',
    origin: 'http://127.0.0.1:54321',
    depth: 0,
    signal: new AbortController().signal,
    body: async (limitBytes) => {
      if (bytes.length > limitBytes) throw new MayflyError('payload_too_large', 'too large')
      return bytes
    },
    stream: async function* () {
      yield bytes
    },
  }
  let reply: Reply
  try {
    reply = await route.handle(context)
  } catch (error) {
    if (route.fail) reply = route.fail(error, { id, headers: {} })
    else if (error instanceof MayflyError) reply = { status: error.status, body: JSON.stringify({ code: error.code, message: error.message }) }
    else throw error
  }
  const { body: sent = null } = reply
  const out = sent !== null && typeof sent === 'object' && Symbol.asyncIterator in sent ? Buffer.concat(await Array.fromAsync(sent)) : Buffer.from(sent ?? '')
  let parsed = told('null')
  try {
    parsed = told(out.toString('utf8'))
  } catch {}
  return { status: reply.status, headers: reply.headers ?? {}, body: parsed, bytes: out }
}

const F = '/2015-03-31/functions'
const minimal = (name: string, more: object = {}) => ({
  FunctionName: name,
  Runtime: 'nodejs24.x',
  Handler: 'index.handler',
  Role: ROLE,
  Code: { ZipFile: ZIP.toString('base64') },
  ...more,
})
const failsWith = (answer: Answer, status: number, code: string, message?: RegExp | string) => {
  assert.equal(answer.status, status, JSON.stringify(answer.body))
  assert.equal(answer.headers['x-amzn-errortype'], code)
  const text = answer.body.message ?? answer.body.Message
  if (message instanceof RegExp) assert.match(textOf(text), message)
  else if (message !== undefined) assert.equal(text, message)
}

describe('the Lambda control plane', () => {
  it('leads a function from CreateFunction to DeleteFunction', async () => {
    const created = await send('POST', F, minimal('life', { Environment: { Variables: { COLOUR: 'red' } }, Tags: { team: 'a' } }))
    assert.equal(created.status, 201)
    assert.equal(created.body.State, 'Pending')
    assert.equal(created.body.LastUpdateStatus, undefined)
    assert.equal(created.body.FunctionArn, 'arn:aws:lambda:us-east-1:000000000000:function:life')
    assert.equal(created.body.CodeSha256, Buffer.from(sha256Hex(ZIP), 'hex').toString('base64'))
    assert.equal(created.body.CodeSize, ZIP.length)
    assert.match(textOf(created.body.LastModified), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$/)
    assert.deepEqual([created.body.MemorySize, created.body.Timeout, created.body.EphemeralStorage, created.body.Description], [128, 3, { Size: 512 }, ''])
    assert.equal(created.headers['x-amzn-requestid'] !== undefined, true)
    assert.equal(built.at(-1)?.functionName, 'life')

    failsWith(await send('POST', F, minimal('life')), 409, 'ResourceConflictException', 'Function already exist: life')

    const got = await send('GET', `${F}/life`)
    assert.equal(got.body.Configuration?.State, 'Active')
    assert.equal(got.body.Configuration?.LastUpdateStatus, 'Successful')
    assert.deepEqual(got.body.Configuration?.Environment, { Variables: { COLOUR: 'red' } })
    assert.deepEqual(got.body.Tags, { team: 'a' })
    assert.equal(got.body.Code?.RepositoryType, 'S3')
    const link = new URL(textOf(got.body.Code?.Location))
    const download = await send('GET', `${link.pathname}${link.search}`, undefined, { kind: 'nobody' })
    assert(download.bytes.equals(ZIP))
    assert.equal((await send('GET', `${link.pathname}?token=1.x`, undefined, { kind: 'nobody' })).status, 403)
    assert.equal((await send('GET', `${link.pathname.replace('/one/', '/two/')}${link.search}`, undefined, { kind: 'nobody' })).status, 403)
    now += 600_001
    assert.equal((await send('GET', `${link.pathname}${link.search}`, undefined, { kind: 'nobody' })).status, 403)

    for (const form of ['life:$LATEST', '000000000000:function:life', 'function:life', 'arn:aws:lambda:us-east-1:000000000000:function:life']) {
      const answer = await send('GET', `${F}/${encodeURIComponent(form)}/configuration`)
      assert.equal(answer.status, 200, form)
      assert.equal(answer.body.FunctionArn, `arn:aws:lambda:us-east-1:000000000000:function:life${form.endsWith('LATEST') ? ':$LATEST' : ''}`)
    }
    assert.deepEqual((await send('GET', '/2020-06-30/functions/life/code-signing-config')).body, {})
    const versions = listOf((await send('GET', `${F}/life/versions?MaxItems=10000`)).body.Versions)
    assert.equal(versions.length, 1)
    assert.equal(versions[0]?.FunctionArn, 'arn:aws:lambda:us-east-1:000000000000:function:life:$LATEST')
    assert.equal(versions[0]?.State, undefined)

    const first = await functions.resolve(ONE, 'life')
    assert.deepEqual(first.environment, { COLOUR: 'red' })
    assert.equal(await readFile(join(first.codeDir, 'index.js'), 'utf8'), 'exports.handler = async () => 1')
    assert.equal(await functions.resolve(ONE, 'life'), first)

    const dry = await send('PUT', `${F}/life/code`, { ZipFile: OTHER_ZIP.toString('base64'), DryRun: true })
    assert.equal(dry.body.CodeSha256, Buffer.from(sha256Hex(OTHER_ZIP), 'hex').toString('base64'))
    assert.equal(dry.body.RevisionId, got.body.Configuration?.RevisionId)

    failsWith(
      await send('PUT', `${F}/life/code`, { ZipFile: OTHER_ZIP.toString('base64'), RevisionId: randomUUID() }),
      412,
      'PreconditionFailedException',
      /^The Revision Id provided does not match the latest Revision Id\./,
    )
    const updated = await send('PUT', `${F}/life/code`, {
      ZipFile: OTHER_ZIP.toString('base64'),
      RevisionId: got.body.Configuration?.RevisionId,
    })
    assert.equal(updated.body.LastUpdateStatus, 'InProgress')
    assert.notEqual(updated.body.RevisionId, got.body.Configuration?.RevisionId)
    const second = await functions.resolve(ONE, 'life')
    assert.notEqual(second.id, first.id)
    assert(retired.includes(first.id))
    assert.equal(await readFile(join(second.codeDir, 'index.js'), 'utf8'), 'exports.handler = async () => 2')
    assert.deepEqual(second.environment, { COLOUR: 'red' })

    const configured = await send('PUT', `${F}/life/configuration`, {
      MemorySize: 256,
      Environment: { Variables: {} },
      Description: 'd',
    })
    assert.deepEqual(configured.body.Environment, { Variables: {} })
    assert.deepEqual([configured.body.MemorySize, configured.body.Timeout, configured.body.Description], [256, 3, 'd'])

    const arn = encodeURIComponent('arn:aws:lambda:us-east-1:000000000000:function:life')
    assert.equal((await send('POST', `/2017-03-31/tags/${arn}`, { Tags: { b: '2' } })).status, 204)
    assert.equal((await send('DELETE', `/2017-03-31/tags/${arn}?tagKeys=team&tagKeys=no`)).status, 204)
    assert.deepEqual((await send('GET', `/2017-03-31/tags/${arn}`)).body, { Tags: { b: '2' } })

    assert.deepEqual([(await send('DELETE', `${F}/life?Qualifier=$LATEST`)).status, (await send('DELETE', `${F}/life`)).status], [400, 204])
    failsWith(await send('GET', `${F}/life`), 404, 'ResourceNotFoundException', 'Function not found: arn:aws:lambda:us-east-1:000000000000:function:life')
    failsWith(await send('DELETE', `${F}/life`), 404, 'ResourceNotFoundException')
    await assert.rejects(functions.resolve(ONE, 'life'), { code: 'function_not_found' })
  })

  it('lists in pages', async () => {
    for (const name of ['p-c', 'p-A', 'p-b']) assert.equal((await send('POST', F, minimal(name), accessKey(TWO))).status, 201)
    const first = (await send('GET', `${F}?MaxItems=2`, undefined, accessKey(TWO))).body
    assert.deepEqual(
      listOf(first.Functions).map((item) => item.FunctionName),
      ['p-A', 'p-b'],
    )
    const second = (await send('GET', `${F}?MaxItems=2&Marker=${first.NextMarker}`, undefined, accessKey(TWO))).body
    assert.deepEqual([listOf(second.Functions).length, second.NextMarker, second.Functions?.[0]?.State], [1, undefined, undefined])
    failsWith(await send('GET', `${F}?MaxItems=0`), 400, 'ValidationException', /greater than or equal to 1/)
    failsWith(await send('GET', `${F}?Marker=%00`), 400, 'InvalidParameterValueException')
    for (const name of ['p-A', 'p-b', 'p-c']) {
      failsWith(await send('GET', `${F}/${name}`, undefined, accessKey(ONE)), 404, 'ResourceNotFoundException') // another project's
      assert.equal((await send('DELETE', `${F}/${name}`, undefined, accessKey(TWO))).status, 204)
    }
  })

  it('turns away whoever has no access key', async () => {
    for (const principal of [
      { kind: 'nobody' },
      { kind: 'function', project: ONE, functionName: 'f', version: 'v', role: 'service_role' },
      { kind: 'anon', project: ONE, keyId: 'k' },
    ] as Principal[]) {
      failsWith(await send('GET', F, undefined, principal), 403, 'AccessDeniedException')
      failsWith(await send('POST', F, minimal('x'), principal), 403, 'AccessDeniedException')
    }
  })

  const wrong: [string, object, string, RegExp][] = [
    [
      'runtime',
      { Runtime: 'java21' },
      'InvalidParameterValueException',
      /'java21' at 'runtime'.*enum value set: \[nodejs22\.x, .*provided\.al2023\]\. Mayfly has no runtime for Java: bring it as an executable bootstrap/,
    ],
    ['no runtime', { Runtime: 'nodejs30.x' }, 'InvalidParameterValueException', /enum value set: \[nodejs22\.x, .*provided\.al2023\]$/],
    [
      'retired runtime',
      { Runtime: 'nodejs20.x' },
      'InvalidParameterValueException',
      /^The runtime parameter of nodejs20\.x is no longer supported for creating or updating AWS Lambda functions\./,
    ],
    ['retired language', { Runtime: 'go1.x' }, 'InvalidParameterValueException', /^The runtime parameter of go1\.x is no longer supported/],
    ['memory', { MemorySize: 127 }, 'ValidationException', /'memorySize'.*greater than or equal to 128/],
    ['memory and timeout', { MemorySize: 10_241, Timeout: 901 }, 'ValidationException', /^2 validation errors detected: .*900; .*10240$/],
    ['no role', { Role: null }, 'ValidationException', /Value null at 'role'/],
    ['a role of another form', { Role: 'x' }, 'ValidationException', /'role'/],
    ['a number as text', { Timeout: '3' }, 'InvalidRequestContentException', /Timeout must be a number/],
    [
      'a reserved variable',
      { Environment: { Variables: { AWS_REGION: 'x' } } },
      'InvalidParameterValueException',
      /Reserved keys used in this request: AWS_REGION$/,
    ],
    ['a large environment', { Environment: { Variables: { LONG: 'x'.repeat(4096) } } }, 'InvalidParameterValueException', /exceeded the 4KB limit/],
    ['a bad name', { FunctionName: 'a b' }, 'ValidationException', /'functionName'/],
    ['a long name', { FunctionName: 'a'.repeat(65) }, 'InvalidParameterValueException', /less than or equal to 64/],
    ['layers', { Layers: ['arn'] }, 'ValidationException', /at 'layers'/],
    [
      'no zip',
      { Code: { ZipFile: Buffer.from('no zip').toString('base64') } },
      'InvalidParameterValueException',
      /^Could not unzip uploaded file\. Please check your file/,
    ],
    ['a zip that climbs', { Code: { ZipFile: makeZip([{ name: '../x', data: '' }]).toString('base64') } }, 'InvalidParameterValueException', /"\.\.\/x"/],
    ['S3', { Code: { S3Bucket: 'abc', S3Key: 'k' } }, 'InvalidParameterValueException', /S3 Error Code: NoSuchBucket/],
    ['no code', { Code: {} }, 'InvalidParameterValueException', /source for function code/],
    ['bad base64', { Code: { ZipFile: '***' } }, 'InvalidRequestContentException', /base64/],
  ]
  for (const [what, more, code, message] of wrong) {
    it(`refuses ${what}`, async () => failsWith(await send('POST', F, minimal('wrong', more)), 400, code, message))
  }

  it('answers unknown operations and bad JSON in its own words', async () => {
    failsWith(await send('GET', '/2018-10-31/nothing'), 404, 'UnknownOperationException')
    failsWith(await send('POST', `${F}/x/nothing`), 404, 'UnknownOperationException')
    failsWith(await send('POST', F, Buffer.from('{')), 400, 'InvalidRequestContentException', /^Could not parse request body into json/)
    failsWith(
      await send('POST', F, Buffer.alloc(70_167_212)),
      413,
      'RequestEntityTooLargeException',
      'Request must be smaller than 70167211 bytes for the CreateFunction operation',
    )
  })

  it('never answers 5xx to what a client may send', async () => {
    assert.equal((await send('POST', F, minimal('fuzz'))).status, 201)
    const fields = fc.constantFrom(
      ...'FunctionName Role Code Runtime Handler Description Timeout MemorySize EphemeralStorage Environment Layers Architectures VpcConfig TracingConfig LoggingConfig Tags Publish DryRun RevisionId ZipFile PackageType SnapStart ImageConfig __proto__'.split(
        ' ',
      ),
    )
    const body = fc.oneof(
      fc.json().map((text) => Buffer.from(text)),
      fc.dictionary(fields, fc.jsonValue()).map((some) => Buffer.from(JSON.stringify(minimal('fuzz2', some)))),
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    )
    const segment = fc
      .oneof(fc.string(), fc.constantFrom('fuzz', 'fuzz:1', 'arn:aws:lambda:us-east-1:000000000000:function:fuzz', '\0'))
      .filter((text) => text !== '')
      .map(encodeURIComponent)
    const operation = fc.oneof(
      fc.constant(['POST', F] as const),
      segment.map((name) => ['PUT', `${F}/${name}/code`] as const),
      segment.map((name) => ['PUT', `${F}/${name}/configuration`] as const),
      segment.map((name) => ['GET', `${F}/${name}?Qualifier=${name}`] as const),
      segment.map((name) => ['GET', `${F}?Marker=${name}&MaxItems=${name}`] as const),
      segment.map((name) => ['POST', `/2017-03-31/tags/${name}`] as const),
      segment.map((name) => ['PUT', `/api/v1/projects/one/functions/${name}`] as const),
      segment.map((name) => ['GET', `/api/v1/projects/one/functions/${name}`] as const),
      segment.map((name) => ['PUT', `/api/v1/projects/one/artefacts/${name}`] as const),
    )
    await fc.assert(
      fc.asyncProperty(operation, body, async ([method, url], bytes) => {
        const answer = await send(method, url, method === 'GET' ? undefined : bytes)
        assert(answer.status < 500, `${answer.status} ${answer.bytes}`)
      }),
      { numRuns: 500 },
    )
  })
})

describe('the management routes', () => {
  const API = '/api/v1/projects/one'
  const service: Principal = { kind: 'service', project: ONE, keyId: 'k' }
  const manage = (method: string, path: string, body?: unknown) => send(method, `${API}${path}`, body, service)

  it('deploys by artefact and says when nothing changes', async () => {
    const sha = sha256Hex(OTHER_ZIP)
    const zip = makeZip([{ name: 'index.mjs', data: 'export default 1' }])
    const fresh = sha256Hex(zip)
    assert.equal((await manage('GET', `/artefacts/${fresh}`)).status, 404)
    assert.equal((await manage('PUT', `/artefacts/${sha}`, zip)).status, 400)
    assert.equal((await manage('PUT', `/artefacts/${fresh}`, zip)).status, 201)
    assert.equal((await manage('PUT', `/artefacts/${fresh}`, zip)).status, 200)
    assert.equal((await manage('HEAD', `/artefacts/${fresh}`)).status, 200)

    const spec = { artefact: fresh, handler: 'index.default', memory: 64, environment: { SECRET: 'hush' } }
    const made = await manage('PUT', '/functions/web', spec)
    assert.equal(made.status, 201, JSON.stringify(made.body))
    assert.deepEqual([made.body.changed, made.body.warnings], [true, []])
    assert(!made.bytes.includes('hush'))
    assert.deepEqual([made.body.function?.memory, made.body.function?.timeout, made.body.function?.environmentNames], [64, 30, ['SECRET']])
    const count = built.length
    const again = await manage('PUT', '/functions/web', spec)
    assert.deepEqual([again.status, again.body.changed, built.length], [200, false, count])
    const changed = await manage('PUT', '/functions/web', { ...spec, egress: ['API.example.com', '*.example.org:443', 'api.example.com'] })
    assert.equal(changed.body.changed, true)
    assert.deepEqual(changed.body.warnings, ['egress: not here'])
    assert.deepEqual((await manage('GET', '/functions/web')).body.function?.egress, ['*.example.org:443', 'api.example.com'])
    const before = built.length
    assert.equal((await manage('PUT', '/functions/web', { ...spec, egress: ['*.example.org:443', 'api.example.com'] })).body.changed, false)
    assert.equal(built.length, before)
    const names = listOf((await manage('GET', '/functions')).body.functions).map((item) => textOf(item.name))
    assert(names.includes('web'))
    const [row] = await control.sql<{
      environment: Buffer
    }>`select environment from mayfly.function_version where environment is not null order by created_at desc limit 1`
    assert(row && !row.environment.includes('hush'))

    assert.equal((await send('PUT', '/api/v1/projects/two/functions/web', spec, { kind: 'operator', id: 'o' })).status, 400, "another project's artefact")
    assert.equal((await manage('DELETE', '/functions/web')).status, 204)
    assert.equal((await manage('GET', '/functions/web')).status, 404)
  })

  const wrong: [object, RegExp][] = [
    [{ memory: 63 }, /^memory: must be a whole number of MB from 64 to 10240$/],
    [{ timeout: 901 }, /^timeout: must be a whole number of seconds from 1 to 900$/],
    [{ timeout: 'x' }, /^timeout: must be/],
    [{ runtime: 'ruby3.4' }, /^runtime: is not supported; this version has `nodejs22.x`, /],
    [{ reuse: 'x' }, /^reuse: must be `function`, `fork`, `never`$/],
    [{ environment: { '1A': 'x' } }, /^environment\.1A: a name must consist/],
    [{ environment: { A: 1 } }, /^environment\.A: each value must be a text$/],
    [{ environment: { A: 'x'.repeat(5000) } }, /^environment: must be at most 4096 bytes/],
    [{ memroy: 1 }, /unknown settings: `memroy`/],
    [{ artefact: 'x' }, /^artefact: must be 64/],
    [{}, /was not uploaded/],
  ]
  for (const [more, message] of wrong) {
    it(`refuses ${JSON.stringify(more).slice(0, 40)}`, async () => {
      const answer = await manage('PUT', '/functions/wrong', { artefact: 'a'.repeat(64), ...more })
      assert.equal(answer.status, 400)
      assert.match(textOf(answer.body.message), message)
    })
  }
})

describe('versions and artefacts', () => {
  const deploy = async (name: string, zip: Buffer) => {
    const artefact = await functions.storeArtefact(ONE, zip)
    return await send('PUT', `/api/v1/projects/one/functions/${name}`, { artefact }, { kind: 'operator', id: 'o' })
  }

  it('a version never changes once built', async () => {
    const { body } = await deploy('final', ZIP)
    const id = textOf(body.function?.versionId)
    await assert.rejects(control.sql`update mayfly.function_version set code_bytes = 1 where id = ${id}`, /never changes/)
    await assert.rejects(control.sql`update mayfly.function_version set state = 'failed' where id = ${id}`, /never changes/)
  })

  it('one from before functions said anything of queued calls is as one that says nothing', async () => {
    const { body } = await deploy('older', ZIP)
    await control.script(`alter table mayfly.function_version disable trigger user;
      update mayfly.function_version set definition = definition - 'async' where id = '${textOf(body.function?.versionId)}';
      alter table mayfly.function_version enable trigger user`)
    functions.invalidate(ONE, 'older')
    assert.deepEqual((await functions.resolve(ONE, 'older')).definition.async, { maxAttempts: null, maxAgeSeconds: null })
    assert.equal((await deploy('older', ZIP)).body.changed, false)
  })
  it('a deletion tells who has something of the function, once it is gone, and is not held up by a fault there', async () => {
    await deploy('left', ZIP)
    const told: unknown[] = []
    deleted = async (project) => {
      told.push(project, await functions.find(ONE, 'left'))
      throw new Error('a fault')
    }
    await functions.delete(ONE, 'left')
    deleted = async () => {}
    assert.deepEqual(told, [ONE, null])
  })

  it('a failed build of the compile cache does not fail the deploy', async () => {
    const usual = build
    build = async () => {
      throw new Error('no sandbox')
    }
    try {
      assert.equal((await deploy('uncached', ZIP)).status, 201)
    } finally {
      build = usual
    }
    assert.equal((await functions.resolve(ONE, 'uncached')).state, 'active')
  })

  it('cannot be called before it is made, and is not changed on the ground of an old revision', async () => {
    assert.equal((await deploy('unmade', ZIP)).status, 201)
    const { versionId, revisionId } = await functions.get(ONE, 'unmade')
    const become = async (state: string) => {
      await control.script(`alter table mayfly.function_version disable trigger user; update mayfly.function_version set state = '${state}' where id = '${versionId}';
        alter table mayfly.function_version enable trigger user`)
      functions.invalidate(ONE, 'unmade')
    }
    await become('pending')
    await assert.rejects(functions.resolve(ONE, 'unmade'), (error) => error instanceof MayflyError && error.code === 'function_not_ready')
    await become('active')
    assert.equal((await functions.resolve(ONE, 'unmade')).state, 'active')
    await functions.update(ONE, 'unmade', { definition: { description: 'one' } }, revisionId)
    const late = functions.update(ONE, 'unmade', { definition: { description: 'two' } }, revisionId)
    await assert.rejects(late, (error) => error instanceof MayflyError && error.code === 'revision_mismatch')
  })

  it('takes an archive up to zippedCode, and no byte more', async () => {
    const code = async (bytes: number) => await functions.storeArtefact(ONE, Buffer.alloc(bytes)).catch((error: MayflyError) => error.code)
    assert.equal(await code(LIMITS.zippedCode.value), 'zip_invalid', 'it is looked at, and is none')
    assert.equal(await code(LIMITS.zippedCode.value + 1), 'payload_too_large')
  })

  it('of two changes at once one wins and the other is told', async () => {
    await deploy('race', ZIP)
    const changes = await Promise.allSettled([1, 2, 3].map((n) => functions.update(ONE, 'race', { definition: { description: String(n) } })))
    const won = changes.filter((change) => change.status === 'fulfilled')
    assert(won.length >= 1)
    for (const change of changes) if (change.status === 'rejected') assert.equal((change.reason as MayflyError).code, 'function_changing')
    const creates = await Promise.all([1, 2, 3].map(() => send('POST', F, minimal('race2'))))
    assert.deepEqual(creates.map((answer) => answer.status).sort(), [201, 409, 409])
  })

  it('a folder that is missing or of an earlier boot is unpacked again; one half made is never used', async () => {
    const artefact = await functions.storeArtefact(ONE, ZIP)
    const code = artefacts.folder(ONE, artefact)
    await rm(code, { recursive: true, force: true })
    await writeFile(join(folder, 'artefacts', ONE, '.tmp-left'), 'x')
    const nextLife = new Artefacts({ root: join(folder, 'artefacts') })
    await nextLife.recover()
    assert(!(await readdir(join(folder, 'artefacts', ONE))).includes('.tmp-left'))
    const all = await Promise.all([1, 2, 3].map(() => nextLife.ready(ONE, artefact)))
    assert.deepEqual(new Set(all), new Set([code]))
    assert.match(await readFile(join(code, 'index.js'), 'utf8'), /1$/)
    await rm(join(code, 'index.js'))
    const nextBoot = new Artefacts({ root: join(folder, 'artefacts'), bootId: 'another' })
    await nextBoot.ready(ONE, artefact)
    assert.match(await readFile(join(code, 'index.js'), 'utf8'), /1$/)
  })

  it('the sweep removes what no version names, and only that', async () => {
    const unused = await functions.storeArtefact(ONE, makeZip([{ name: 'unused.js', data: 'x' }]))
    const { body } = await deploy('kept', OTHER_ZIP)
    await functions.sweep()
    assert.equal(await artefacts.has(ONE, unused), true, 'young ones stay')
    await functions.sweep(0)
    assert.equal(await artefacts.has(ONE, unused), false)
    assert.equal(await artefacts.has(ONE, textOf(body.function?.artefact)), true)
    assert.equal((await functions.resolve(ONE, 'kept')).id, textOf(body.function?.versionId))
  })
})
