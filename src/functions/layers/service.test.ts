import assert from 'node:assert/strict'
import { readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { LIMITS } from '../../core/limits.ts'
import { sha256Hex } from '../artefacts.ts'
import { LambdaTable, ONE, refuses, TWO } from '../dialects/lambda/table-fixture.ts'
import { makeZip } from '../zip-fixture.ts'
import { listOf, textOf, numberOf } from '../../lib/told-fixture.ts'

const L = '/2018-10-31/layers'
const F = '/2015-03-31/functions'
const ARN = 'arn:aws:lambda:us-east-1:000000000000:layer'
const zipOf = (text: string) => makeZip([{ name: `nodejs/${text}.js`, data: text }])
const contentOf = (zip: Buffer) => ({ Content: { ZipFile: zip.toString('base64') } })

let table: LambdaTable
const send = (...args: Parameters<LambdaTable['send']>) => table.send(...args)
const publish = (name: string, text = name, more: object = {}, project = ONE) =>
  send('POST', `${L}/${name}/versions`, { ...contentOf(zipOf(text)), ...more }, project)
const layersOf = async (name: string) => (await send('GET', `${F}/${name}/configuration`)).body.Layers
const optOf = async (name: string) => {
  const { optDir } = await table.functions.resolve(ONE, name)
  return optDir === null ? null : (await readdir(join(optDir, 'nodejs'))).toSorted()
}
const folders = async () => (await readdir(join(table.artefacts, ONE))).filter((name) => name.startsWith('layers-') && !name.endsWith('.boot'))

before(async () => {
  table = await LambdaTable.open()
})
after(() => table?.[Symbol.asyncDispose]())

describe('layers by the Lambda API', () => {
  it('publishes, shows, lists and deletes; a number is never given twice', async () => {
    const zip = zipOf('life')
    const about = { Description: 'what it is', LicenseInfo: 'MIT', CompatibleRuntimes: ['nodejs24.x', 'nodejs99.x'], CompatibleArchitectures: ['x86_64'] }
    const made = await send('POST', `${L}/life/versions`, { ...contentOf(zip), ...about })
    const { Content, CreatedDate, ...rest } = made.body
    assert.equal(made.status, 201)
    assert.deepEqual(rest, { LayerArn: `${ARN}:life`, LayerVersionArn: `${ARN}:life:1`, Version: 1, ...about })
    assert.match(textOf(CreatedDate), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$/)
    assert.deepEqual([Content?.CodeSize, Content?.CodeSha256], [zip.length, Buffer.from(sha256Hex(zip), 'hex').toString('base64')])
    assert.match(textOf(Content?.Location), new RegExp(`^http://127.0.0.1:54321/api/v1/artefacts/one/${sha256Hex(zip)}\\?token=`))

    for (const at of [`${L}/life/versions/1`, `${L}/${encodeURIComponent(`${ARN}:life`)}/versions/1`, `${L}?find=LayerVersion&Arn=${ARN}:life:1`]) {
      const got = await send('GET', at)
      assert.deepEqual([got.status, got.body.LayerVersionArn, got.body.Version, got.body.Content?.CodeSize], [200, `${ARN}:life:1`, 1, zip.length], at)
    }
    assert.deepEqual((await publish('life')).body.Version, 2)
    assert.equal((await send('DELETE', `${L}/life/versions/2`)).status, 204)
    assert.equal((await send('DELETE', `${L}/life/versions/2`)).status, 204)
    assert.equal((await send('DELETE', `${L}/never/versions/7`)).status, 204)
    const plain = await publish('life')
    assert.deepEqual([plain.body.Version, plain.body.Description, Object.keys(plain.body).includes('LicenseInfo')], [3, '', false])
    await table.functions.sweep(0)
    assert.equal((await publish('life')).body.Version, 4)
    const listed = await send('GET', `${L}/life/versions`)
    assert.deepEqual(
      listOf(listed.body.LayerVersions).map((one) => one.Version),
      [4, 3, 1],
    )
    assert.equal('Content' in (listOf(listed.body.LayerVersions)[0] ?? {}), false)
    refuses(await send('GET', `${L}/life/versions/2`), 404, 'ResourceNotFoundException', 'The resource you requested does not exist.')
    refuses(await send('GET', `${L}?find=LayerVersion&Arn=${ARN}:life:2`), 404, 'ResourceNotFoundException', 'The resource you requested does not exist.')
    for (const [number, message] of [
      ['0', 'Layer Version Cannot be less than 1'],
      ['-3', 'Layer Version Cannot be less than 1'],
    ] as const)
      refuses(await send('GET', `${L}/life/versions/${number}`), 400, 'InvalidParameterValueException', message)
    refuses(await send('GET', `${L}/life/versions/x`), 400, 'ValidationException', /whole number/)
    assert.equal((await send('GET', `${L}/life/versions/99999999999999`)).status, 404)
  })

  it('gives numbers that are asked for at once one after the other', async () => {
    const made = await Promise.all(Array.from({ length: 5 }, () => publish('at-once')))
    assert.deepEqual(made.map((one) => one.body.Version).toSorted(), [1, 2, 3, 4, 5])
  })

  it('lists by the newest version that fits, page by page', async () => {
    await publish('page-a', 'a', { CompatibleRuntimes: ['python3.13'], CompatibleArchitectures: ['arm64'] }, TWO)
    await publish('page-a', 'b', { CompatibleRuntimes: ['nodejs24.x'] }, TWO)
    await publish('page-b', 'c', { CompatibleRuntimes: ['nodejs24.x'], CompatibleArchitectures: ['x86_64', 'arm64'] }, TWO)
    await publish('page-c', 'd', {}, TWO)
    const list = async (query: string) => (await send('GET', `${L}?${query}`, undefined, TWO)).body
    const names = async (query: string) => listOf((await list(query)).Layers).map((one) => `${one.LayerName}:${one.LatestMatchingVersion?.Version}`)
    assert.deepEqual(await names(''), ['page-a:2', 'page-b:1', 'page-c:1'])
    assert.deepEqual(await names('CompatibleRuntime=python3.13'), ['page-a:1'])
    assert.deepEqual(await names('CompatibleRuntime=nodejs24.x'), ['page-a:2', 'page-b:1'])
    assert.deepEqual(await names('CompatibleArchitecture=arm64'), ['page-a:1', 'page-b:1'])
    assert.deepEqual(await names('CompatibleArchitecture=x86_64&CompatibleRuntime=nodejs24.x'), ['page-b:1'])
    const found: string[] = []
    for (let marker = ''; ; ) {
      const page = await list(`MaxItems=1${marker === '' ? '' : `&Marker=${marker}`}`)
      assert.equal(listOf(page.Layers).length, 1)
      found.push(textOf(page.Layers?.[0]?.LayerArn))
      if (!page.NextMarker) break
      marker = textOf(page.NextMarker)
    }
    assert.deepEqual(found, [`${ARN}:page-a`, `${ARN}:page-b`, `${ARN}:page-c`])
    const first = (await send('GET', `${L}/page-a/versions?MaxItems=1`, undefined, TWO)).body
    const second = (await send('GET', `${L}/page-a/versions?MaxItems=1&Marker=${first.NextMarker}`, undefined, TWO)).body
    assert.deepEqual([first.LayerVersions?.[0]?.Version, second.LayerVersions?.[0]?.Version, second.NextMarker], [2, 1, undefined])
    assert.equal(listOf((await send('GET', `${L}/page-a/versions?CompatibleRuntime=python3.13`, undefined, TWO)).body.LayerVersions).length, 1)
    assert.deepEqual((await send('GET', `${L}/nobody/versions`)).body, { LayerVersions: [] })
    assert.deepEqual((await send('GET', `${L}/page-a/versions`)).body, { LayerVersions: [] }, 'another project sees none of it')
    for (const query of ['MaxItems=0', 'MaxItems=51', 'MaxItems=x', 'CompatibleRuntime=cobol', 'CompatibleArchitecture=vax'])
      refuses(await send('GET', `${L}?${query}`), 400, 'ValidationException', /validation error/)
    refuses(await send('GET', `${L}?Marker=%00`), 400, 'InvalidParameterValueException', /Marker/)
  })

  it('refuses what is wrong in the words of the API', async () => {
    const wrong = async (body: object, message: RegExp, code = 'ValidationException') =>
      refuses(await send('POST', `${L}/wrong/versions`, body), 400, code, message)
    await wrong({}, /Value null at 'content'/)
    await wrong({ Content: {} }, /Please provide a source/, 'InvalidParameterValueException')
    await wrong({ Content: { ZipFile: Buffer.from('no zip').toString('base64') } }, /^Could not unzip uploaded file/, 'InvalidParameterValueException')
    const hostile = makeZip([{ name: '../../escape', data: 'x' }])
    await wrong(contentOf(hostile), /^Could not unzip uploaded file.*`\.\.` is not allowed/, 'InvalidParameterValueException')
    const linking = makeZip([{ name: 'file' }, { name: 'out', data: '../../etc', mode: 0o120777 }])
    await wrong(contentOf(linking), /^Could not unzip uploaded file.*leads out/, 'InvalidParameterValueException')
    const good = contentOf(zipOf('good'))
    await wrong({ ...good, Description: 'x'.repeat(257) }, /'description'.*256/)
    await wrong({ ...good, LicenseInfo: 'x'.repeat(513) }, /'licenseInfo'.*512/)
    await wrong({ ...good, CompatibleRuntimes: ['cobol'] }, /'compatibleRuntimes' failed to satisfy constraint: Member must satisfy constraint/)
    await wrong({ ...good, CompatibleRuntimes: Array.from({ length: 16 }, () => 'nodejs24.x') }, /less than or equal to 15/)
    await wrong({ ...good, CompatibleArchitectures: ['x86_64', 'arm64', 'arm64'] }, /less than or equal to 2/)
    await wrong({ ...good, CompatibleArchitectures: [1] }, /'compatibleArchitectures'/)
    refuses(await publish('bad%20name'), 400, 'ValidationException', /'layerName'/)
    refuses(await publish('x'.repeat(141)), 400, 'ValidationException', /less than or equal to 140/)
    assert.equal((await send('GET', `${L}/${encodeURIComponent(ARN.replace('000000000000', '123456789012'))}%3Alife/versions/1`)).status, 404)
    refuses(await send('GET', `${L}?find=LayerVersion&Arn=${ARN}:life`), 400, 'ValidationException', /'arn'/)
    assert.deepEqual((await send('GET', `${L}/wrong/versions`)).body.LayerVersions, [])
  })

  it('keeps who may read a version', async () => {
    await publish('policy')
    const at = `${L}/policy/versions/1/policy`
    refuses(await send('GET', at), 404, 'ResourceNotFoundException', 'No policy is associated with the given resource.')
    refuses(await send('DELETE', `${at}/x`), 404, 'ResourceNotFoundException', 'No policy is associated with the given resource.')
    const base = { StatementId: 's1', Action: 'lambda:GetLayerVersion', Principal: '*' }
    const added = await send('POST', at, { ...base, OrganizationId: 'o-0123456789' })
    assert.equal(added.status, 201)
    assert.deepEqual(JSON.parse(textOf(added.body.Statement)), {
      Sid: 's1',
      Effect: 'Allow',
      Principal: '*',
      Action: 'lambda:GetLayerVersion',
      Resource: `${ARN}:policy:1`,
      Condition: { StringEquals: { 'aws:PrincipalOrgID': 'o-0123456789' } },
    })
    refuses(await send('POST', at, base), 409, 'ResourceConflictException', /^The statement id \(s1\) provided already exists\./)
    refuses(await send('POST', `${at}?RevisionId=other`, { ...base, StatementId: 's2' }), 412, 'PreconditionFailedException', /Call the GetLayerPolicy API/)
    const second = await send('POST', `${at}?RevisionId=${added.body.RevisionId}`, { ...base, StatementId: 's2', Principal: '123456789012' })
    assert.notEqual(second.body.RevisionId, added.body.RevisionId)
    const got = await send('GET', at)
    const policy = JSON.parse(textOf(got.body.Policy))
    assert.deepEqual([policy.Version, policy.Id, policy.Statement.map((one: { Sid: string }) => one.Sid)], ['2012-10-17', 'default', ['s1', 's2']])
    assert.deepEqual(policy.Statement[1].Principal, { AWS: 'arn:aws:iam::123456789012:root' })
    assert.equal(got.body.RevisionId, second.body.RevisionId)
    refuses(await send('DELETE', `${at}/s3`), 404, 'ResourceNotFoundException', 'Statement s3 is not found in resource policy.')
    refuses(await send('DELETE', `${at}/s1?RevisionId=${added.body.RevisionId}`), 412, 'PreconditionFailedException', /GetLayerPolicy/)
    assert.equal((await send('DELETE', `${at}/s1`)).status, 204)
    assert.equal((await send('DELETE', `${at}/s2`)).status, 204)
    assert.equal((await send('GET', at)).status, 404)
    refuses(await send('POST', `${L}/policy/versions/2/policy`, base), 404, 'ResourceNotFoundException', `Layer version ${ARN}:policy:2 does not exist.`)
    for (const body of [{ ...base, Action: 'lambda:*' }, { ...base, Principal: 'root' }, { ...base, StatementId: 'a b' }, { ...base, OrganizationId: 'x' }, {}])
      refuses(await send('POST', at, body), 400, 'ValidationException', /validation error/)
    let last = added
    for (let n = 0; last.status === 201; n++) last = await send('POST', at, { ...base, StatementId: `${'x'.repeat(90)}${n}` })
    refuses(last, 400, 'PolicyLengthExceededException', /bigger than the limit \(20480\)/)
  })
})

describe('functions with layers', () => {
  it('have them in /opt in their order, and tell them back', async () => {
    for (const name of ['one', 'two']) await publish(name)
    const made = await table.create('with', { Layers: [`${ARN}:one:1`, `${ARN}:two:1`] })
    assert.equal(made.status, 201, JSON.stringify(made.body))
    const sizes = [
      { Arn: `${ARN}:one:1`, CodeSize: zipOf('one').length },
      { Arn: `${ARN}:two:1`, CodeSize: zipOf('two').length },
    ]
    assert.deepEqual(made.body.Layers, sizes)
    assert.deepEqual(await layersOf('with'), sizes)
    assert.deepEqual(await optOf('with'), ['one.js', 'two.js'])
    const kept = await send('PUT', `${F}/with/configuration`, { MemorySize: 256 })
    assert.deepEqual(kept.body.Layers, sizes)
    const code = await send('PUT', `${F}/with/code`, { ZipFile: makeZip([{ name: 'index.js', data: '1' }]).toString('base64') })
    assert.deepEqual(code.body.Layers, sizes)
    const cleared = await send('PUT', `${F}/with/configuration`, { Layers: [] })
    assert.equal(cleared.body.Layers, undefined)
    assert.equal(await optOf('with'), null)
    const listed = await send('GET', F)
    const listedOne = listOf(listed.body.Functions).find((one) => String(one.FunctionName) === 'with')
    assert(listedOne)
    assert.equal(listedOne.Layers, undefined)
    assert.equal((await table.create('without')).body.Layers, undefined)
  })

  it('are refused with layers that are not there, too many, or two of one', async () => {
    const refused = async (Layers: unknown, status: number, code: string, message: RegExp | string) => {
      refuses(await table.create('refused', { Layers }), status, code, message)
      refuses(await send('PUT', `${F}/without/configuration`, { Layers }), status, code, message)
    }
    const bad = 'InvalidParameterValueException'
    await refused([`${ARN}:none:1`], 400, bad, `Layer version ${ARN}:none:1 does not exist.`)
    await refused([`${ARN}:one:2`], 400, bad, `Layer version ${ARN}:one:2 does not exist.`)
    const six = Array.from({ length: LIMITS.functionLayers.value + 1 }, (_, n) => `${ARN}:l${n}:1`)
    await refused(six, 400, bad, 'Cannot reference more than 5 layers.')
    await refused([`${ARN}:one:1`, `${ARN}:two:1`, `${ARN}:one:1`], 400, bad, /^Two different versions of the same layer are not allowed/)
    await refused(['one'], 400, 'ValidationException', /at 'layers'/)
    await refused([1], 400, 'ValidationException', /at 'layers'/)
    await refused(
      [`${ARN.replace('us-east-1', 'eu-west-1')}:one:1`],
      400,
      bad,
      /^Layers are not in the same region as the function. Layers are expected to be in region us-east-1\./,
    )
    await refused([`${ARN.replace('000000000000', '123456789012')}:one:1`], 403, 'AccessDeniedException', /lambda:GetLayerVersion on resource/)
    await publish('secret', 'secret', {}, TWO)
    const foreign = `${ARN.replace('000000000000', '123456789012')}:one:1`
    await assert.rejects(table.functions.layers.admit(ONE, [foreign]), { code: 'layer_missing', message: `Layer version ${foreign} does not exist.` })
    await refused([`${ARN}:secret:1`], 400, bad, /does not exist/)
    for (let n = 0; n < LIMITS.functionLayers.value; n++) await publish(`l${n}`)
    const five = await table.create('five', { Layers: six.slice(0, LIMITS.functionLayers.value) })
    assert.equal(five.status, 201, JSON.stringify(five.body))
  })

  it('keep layers that are deleted, through changes and sweeps; others get them no more', async () => {
    await publish('gone')
    const Layers = [`${ARN}:gone:1`]
    await table.create('keeps', { Layers })
    await send('DELETE', `${L}/gone/versions/1`)
    await table.functions.sweep(0)
    refuses(await table.create('late', { Layers }), 400, 'InvalidParameterValueException', `Layer version ${ARN}:gone:1 does not exist.`)
    assert.equal((await send('PUT', `${F}/keeps/configuration`, { Description: 'changed', Layers })).status, 200)
    await table.functions.sweep(0)
    table.functions.invalidate(ONE)
    assert.deepEqual(await optOf('keeps'), ['gone.js'])
    assert.equal(listOf(await layersOf('keeps')).length, 1)
    const artefact = sha256Hex(zipOf('gone'))
    assert.notEqual(await table.functions.artefactBytes(ONE, artefact), null)
    const published = await send('POST', `${F}/keeps/versions`, {})
    assert.equal(published.body.Layers?.[0]?.Arn, Layers[0], JSON.stringify(published.body))
    await send('PUT', `${F}/keeps/configuration`, { Layers: [] })
    await table.functions.sweep(0)
    assert.notEqual(await table.functions.artefactBytes(ONE, artefact), null, 'the published version has it')
    await send('DELETE', `${F}/keeps`)
    await table.functions.sweep(0)
    assert.equal(await table.functions.artefactBytes(ONE, artefact), null)
    assert.equal((await publish('gone')).body.Version, 2)
  })

  it('have one folder for each list, made again when it is lost, and removed when no version has it', async () => {
    await publish('shared-a')
    await publish('shared-b')
    await send('DELETE', `${F}/five`)
    await send('DELETE', `${F}/with`)
    await table.functions.sweep(0)
    const lists = await folders()
    for (const name of ['first', 'second']) await table.create(name, { Layers: [`${ARN}:shared-a:1`, `${ARN}:shared-b:1`] })
    await table.create('turned', { Layers: [`${ARN}:shared-b:1`, `${ARN}:shared-a:1`] })
    assert.equal((await folders()).length, lists.length + 2)
    const { optDir } = await table.functions.resolve(ONE, 'first')
    assert.equal((await table.functions.resolve(ONE, 'second')).optDir, optDir)
    // A power cut: the mark is of another boot, and files are lost.
    await writeFile(`${optDir}.boot`, 'another boot')
    await rm(join(optDir as string, 'nodejs/shared-a.js'))
    table.functions.invalidate(ONE)
    assert.deepEqual(await optOf('first'), ['shared-a.js', 'shared-b.js'])
    await rm(optDir as string, { recursive: true })
    table.functions.invalidate(ONE)
    assert.equal(await readFile(join((await table.functions.resolve(ONE, 'first')).optDir as string, 'nodejs/shared-b.js'), 'utf8'), 'shared-b')
    await send('DELETE', `${F}/first`)
    await table.functions.sweep(0)
    assert.deepEqual(await optOf('second'), ['shared-a.js', 'shared-b.js'])
    for (const name of ['second', 'turned']) await send('DELETE', `${F}/${name}`)
    await table.functions.sweep()
    assert.equal((await folders()).length, lists.length + 2, 'a deploy under way may have asked for it')
    const old = new Date(Date.now() - 7_200_000)
    for (const name of await folders()) await utimes(join(table.artefacts, ONE, `${name}.boot`), old, old)
    await table.functions.sweep()
    assert.deepEqual(await folders(), [])
  })

  it('are refused where code and layers have too many bytes together, or links that lead out only together', async () => {
    const half = LIMITS.unzippedCode.value / 2
    const zeros = makeZip([{ name: 'zeros', data: Buffer.alloc(half), deflate: true }])
    for (const name of ['half', 'rest']) await send('POST', `${L}/${name}/versions`, contentOf(zeros))
    refuses(
      await table.create('large', { Layers: [`${ARN}:half:1`, `${ARN}:rest:1`] }),
      400,
      'InvalidParameterValueException',
      /^Function code combined with layers exceeds the maximum allowed size of 262144000 bytes\. The actual size is 2621440\d\d bytes\.$/,
    )
    assert.equal((await table.create('large', { Layers: [`${ARN}:half:1`] })).status, 201)
    const links = [
      [
        { name: 'p/out', data: 'q/../../etc', mode: 0o120777 },
        { name: 'a', data: '' },
      ],
      [
        { name: 'p/q', data: '..', mode: 0o120777 },
        { name: 'b', data: '' },
      ],
    ]
    for (const [index, members] of links.entries()) await send('POST', `${L}/link-${index}/versions`, contentOf(makeZip(members)))
    refuses(await table.create('linked', { Layers: [`${ARN}:link-0:1`, `${ARN}:link-1:1`] }), 400, 'InvalidParameterValueException', /leads out/)
    assert.equal((await table.create('linked', { Layers: [`${ARN}:link-1:1`] })).status, 201)
  })
})

describe('code from a bucket', () => {
  const from = (key: string, bucket = 'code') => ({ S3Bucket: bucket, S3Key: key })

  it('is taken by functions and layers, and need not fit into a request', async () => {
    const zip = makeZip([{ name: 'index.js', data: 'exports.handler = async () => 3' }])
    table.objects.set('dir/code.zip', zip)
    const made = await table.create('bucketed', { Code: from('dir/code.zip') })
    assert.deepEqual([made.status, made.body.CodeSize], [201, zip.length], JSON.stringify(made.body))
    const large = makeZip([{ name: 'index.js', data: Buffer.alloc(LIMITS.zippedCode.value + 1) }])
    table.objects.set('large.zip', large)
    const dry = await send('PUT', `${F}/bucketed/code`, { ...from('large.zip'), DryRun: true })
    assert.deepEqual([dry.status, dry.body.CodeSize], [200, large.length])
    const updated = await send('PUT', `${F}/bucketed/code`, from('large.zip'))
    assert.deepEqual([updated.status, updated.body.CodeSize], [200, large.length], JSON.stringify(updated.body))
    const layer = await send('POST', `${L}/bucketed/versions`, { Content: from('dir/code.zip') })
    assert.deepEqual([layer.status, layer.body.Content?.CodeSize], [201, zip.length])
    refuses(await table.create('theirs', { Code: from('dir/code.zip') }, TWO), 400, 'InvalidParameterValueException', /NoSuchBucket/)
  })

  it('is refused by name when it cannot be had', async () => {
    const bad = 'InvalidParameterValueException'
    const tries = async (code: object, status: number, name: string, message: RegExp | string) => {
      refuses(await table.create('nobody', { Code: code }), status, name, message)
      refuses(await send('PUT', `${F}/bucketed/code`, code), status, name, message)
      refuses(await send('POST', `${L}/nobody/versions`, { Content: code }), status, name, message)
    }
    await tries(from('none'), 400, bad, 'Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.')
    await tries(
      from('x', 'other'),
      400,
      bad,
      'Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist',
    )
    await tries({ ...from('none'), S3ObjectVersion: '1' }, 400, bad, /S3ObjectVersion is not supported/)
    await tries({ S3Bucket: 'code' }, 400, bad, /both S3Bucket and S3Key/)
    await tries({ ...from('none'), ZipFile: '' }, 400, bad, /do not provide other FunctionCode parameters/)
    await tries(from('none', 'a b'), 400, 'ValidationException', /'s3Bucket'/)
    await tries(from('x'.repeat(1025)), 400, 'ValidationException', /'s3Key'/)
    table.objects.set('huge', Buffer.alloc(LIMITS.unzippedCode.value + 1))
    await tries(from('huge'), 400, bad, 'Unzipped size must be smaller than 262144000 bytes')
    table.objects.clear()
    table.objects.set('text', Buffer.from('no archive'))
    await tries(from('text'), 400, bad, /^Could not unzip uploaded file/)
  })
})

describe('what a project has of layers', () => {
  it('counts as its code until it is deleted, and goes with the project', async () => {
    const used = async () => numberOf((await send('GET', '/2016-08-19/account-settings', undefined, TWO)).body.AccountUsage?.TotalCodeSize)
    const before = await used()
    const made = await publish('counted', 'counted', {}, TWO)
    assert.equal(await used(), before + numberOf(made.body.Content?.CodeSize))
    await send('DELETE', `${L}/counted/versions/1`, undefined, TWO)
    assert.equal(await used(), before)
    await publish('kept', 'kept', {}, TWO)
    assert.equal((await table.create('last', { Layers: [`${ARN}:kept:1`] }, TWO)).status, 201)
    await table.dropProject(TWO)
    assert.deepEqual((await send('GET', L, undefined, TWO)).body.Layers, [])
  })
})
