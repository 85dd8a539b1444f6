import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { LambdaTable, ONE, refuses, TWO } from './table-fixture.ts'
import { listOf, textOf } from '../../../lib/told-fixture.ts'

const F = '/2021-10-31/functions'
const ARN = 'arn:aws:lambda:us-east-1:000000000000:function:shop'
const NOT_THERE = 'The resource you requested does not exist.'

let table: LambdaTable
before(async () => {
  table = await LambdaTable.open()
  for (const name of ['shop', 'many', 'gone', 'rules']) await table.create(name)
  await table.create('shop', {}, TWO)
  await table.send('POST', '/2015-03-31/functions/shop/versions')
  for (const name of ['live', 'test']) await table.send('POST', '/2015-03-31/functions/shop/aliases', { Name: name, FunctionVersion: '1' })
})
after(async () => {
  await table?.[Symbol.asyncDispose]()
})

describe('addresses of functions by the Lambda API', () => {
  it('are made, read, changed and removed, in the shapes of the service', async () => {
    refuses(await table.send('GET', `${F}/shop/url`), 404, 'ResourceNotFoundException', NOT_THERE)
    const made = await table.send('POST', `${F}/shop/url`, { AuthType: 'NONE' })
    assert.equal(made.status, 201)
    assert.deepEqual(Object.keys(made.body), ['FunctionUrl', 'FunctionArn', 'AuthType', 'CreationTime'])
    assert.match(textOf(made.body.FunctionUrl), /^http:\/\/127\.0\.0\.1:54321\/lambda-url\/[a-z0-9]{32}\/$/)
    assert.match(textOf(made.body.CreationTime), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    assert.deepEqual([made.body.FunctionArn, made.body.AuthType], [ARN, 'NONE'])
    const read = await table.send('GET', `${F}/shop/url`)
    assert.deepEqual(Object.keys(read.body), ['FunctionUrl', 'FunctionArn', 'AuthType', 'CreationTime', 'LastModifiedTime', 'InvokeMode'])
    assert.deepEqual([read.body.InvokeMode, read.body.FunctionUrl], ['BUFFERED', made.body.FunctionUrl])
    const Cors = {
      AllowCredentials: true,
      AllowHeaders: ['x-a'],
      AllowMethods: ['GET', '*'],
      AllowOrigins: ['https://*.example.com'],
      ExposeHeaders: ['x-b'],
      MaxAge: 0,
    }
    const updated = await table.send('PUT', `${F}/shop/url`, { AuthType: 'AWS_IAM', InvokeMode: 'RESPONSE_STREAM', Cors })
    assert.deepEqual([updated.status, updated.body.AuthType, updated.body.InvokeMode, updated.body.Cors], [200, 'AWS_IAM', 'RESPONSE_STREAM', Cors])
    // What is not said stays; what is said of Cors is all of it, and nothing takes it away.
    assert.deepEqual((await table.send('PUT', `${F}/shop/url`, { Cors: { MaxAge: 5 } })).body.Cors, { MaxAge: 5 })
    assert.deepEqual((await table.send('PUT', `${F}/shop/url`, { AuthType: 'NONE' })).body.Cors, { MaxAge: 5 })
    assert.equal('Cors' in (await table.send('PUT', `${F}/shop/url`, { Cors: {} })).body, false)
    refuses(
      await table.send('POST', `${F}/shop/url`, { AuthType: 'NONE' }),
      409,
      'ResourceConflictException',
      `Failed to create function url config for [functionArn = ${ARN}]. Error message:  FunctionUrlConfig exists for this Lambda function`,
    )
    const gone = await table.send('DELETE', `${F}/shop/url`)
    assert.deepEqual([gone.status, gone.body], [204, null])
    for (const method of ['GET', 'PUT', 'DELETE']) refuses(await table.send(method, `${F}/shop/url`), 404, 'ResourceNotFoundException', NOT_THERE)
  })

  it('echo InvokeMode at creation when it was sent, and Cors', async () => {
    const made = await table.send('POST', `${F}/many/url`, { AuthType: 'NONE', InvokeMode: 'BUFFERED', Cors: { AllowOrigins: ['*'] } })
    assert.deepEqual(Object.keys(made.body), ['FunctionUrl', 'FunctionArn', 'AuthType', 'Cors', 'CreationTime', 'InvokeMode'])
  })

  it('are one for a function and one for each alias, which versions and $LATEST have not', async () => {
    const own = await table.send('POST', `${F}/shop/url`, { AuthType: 'NONE' })
    const live = await table.send('POST', `${F}/shop/url?Qualifier=live`, { AuthType: 'AWS_IAM' })
    const test = await table.send('POST', `${F}/shop%3Atest/url`, { AuthType: 'NONE' })
    assert.deepEqual([live.status, live.body.FunctionArn, test.body.FunctionArn], [201, `${ARN}:live`, `${ARN}:test`])
    assert.equal(new Set([own, live, test].map((one) => one.body.FunctionUrl)).size, 3)
    const arns = (answer: typeof own) => listOf(answer.body.FunctionUrlConfigs).map((one) => one.FunctionArn)
    const first = await table.send('GET', `${F}/shop/urls?MaxItems=2`)
    assert.deepEqual(arns(first), [ARN, `${ARN}:live`])
    const second = await table.send('GET', `${F}/shop/urls?MaxItems=2&Marker=${first.body.NextMarker}`)
    assert.deepEqual([arns(second), second.body.NextMarker], [[`${ARN}:test`], undefined])
    assert.deepEqual(arns(await table.send('GET', `${F}/shop/urls`)), [ARN, `${ARN}:live`, `${ARN}:test`])
    for (const qualifier of ['1', '%24LATEST', 'a%00b', '%24x'])
      refuses(
        await table.send('GET', `${F}/shop/url?Qualifier=${qualifier}`),
        400,
        'ValidationException',
        /at 'qualifier' failed to satisfy constraint.*\(\(\?!\^\\d\+\$\)\^\[0-9a-zA-Z-_\]\+\$\)$/,
      )
    refuses(await table.send('GET', `${F}/shop%3A1/url`), 400, 'ValidationException', /Value '1' at 'qualifier'/)
    refuses(await table.send('GET', `${F}/shop%3Alive/url?Qualifier=test`), 400, 'InvalidParameterValueException', /derived qualifier/)
    // An alias takes its address with it, and the others stay.
    await table.send('DELETE', '/2015-03-31/functions/shop/aliases/live')
    refuses(await table.send('GET', `${F}/shop/url?Qualifier=live`), 404, 'ResourceNotFoundException', NOT_THERE)
    assert.deepEqual(arns(await table.send('GET', `${F}/shop/urls`)), [ARN, `${ARN}:test`])
  })

  it('need a function or an alias that is there, in their own project', async () => {
    refuses(await table.send('POST', `${F}/none/url`, { AuthType: 'NONE' }), 404, 'ResourceNotFoundException', 'Function does not exist')
    refuses(await table.send('POST', `${F}/shop/url?Qualifier=none`, { AuthType: 'NONE' }), 404, 'ResourceNotFoundException', 'Function does not exist')
    refuses(await table.send('GET', `${F}/none/urls`), 404, 'ResourceNotFoundException', 'Function does not exist')
    refuses(await table.send('GET', `${F}/shop/url`, undefined, TWO), 404, 'ResourceNotFoundException', NOT_THERE)
    assert.deepEqual((await table.send('GET', `${F}/shop/urls`, undefined, TWO)).body, { FunctionUrlConfigs: [] })
    await table.send('POST', `${F}/gone/url`, { AuthType: 'NONE' })
    await table.send('DELETE', '/2015-03-31/functions/gone')
    await table.create('gone')
    refuses(await table.send('GET', `${F}/gone/url`), 404, 'ResourceNotFoundException', NOT_THERE)
  })

  it('are refused with what is wrong, all of it together', async () => {
    const post = (body: unknown) => table.send('POST', `${F}/rules/url`, body)
    refuses(await post({}), 400, 'ValidationException', /Value null at 'authType' failed to satisfy constraint: Member must not be null/)
    refuses(
      await post({ AuthType: 'JWT', InvokeMode: 'FAST' }),
      400,
      'ValidationException',
      /^2 validation errors detected: .*\[NONE, AWS_IAM\].*\[BUFFERED, RESPONSE_STREAM\]/,
    )
    const cors = (Cors: unknown) => post({ AuthType: 'NONE', Cors })
    const many = (count: number) => Array.from({ length: count }, (_, i) => `x-${i}`)
    for (const [Cors, at] of [
      [{ MaxAge: 86_401 }, 'cors.maxAge'],
      [{ MaxAge: -1 }, 'cors.maxAge'],
      [{ AllowMethods: ['OPTIONS'] }, 'cors.allowMethods'],
      [{ AllowMethods: ['GET', 'PUT', 'HEAD', 'POST', 'PATCH', 'DELETE', '*'] }, 'cors.allowMethods'],
      [{ AllowHeaders: many(101) }, 'cors.allowHeaders'],
      [{ ExposeHeaders: ['x'.repeat(1025)] }, 'cors.exposeHeaders'],
      [{ AllowOrigins: ['x'.repeat(254)] }, 'cors.allowOrigins'],
      [{ AllowOrigins: [''] }, 'cors.allowOrigins'],
    ] as const)
      refuses(await cors(Cors), 400, 'ValidationException', new RegExp(`at '${at.replace('.', '\\.')}`))
    refuses(await cors({ AllowHeaders: ['x\r\nset-cookie: a=b'] }), 400, 'InvalidParameterValueException', /AllowHeaders.*no value of a header/)
    assert.equal((await cors({ AllowHeaders: many(100), AllowMethods: ['DELETE'], MaxAge: 86_400 })).status, 201)
    assert.equal((await table.functions.find(ONE, 'rules'))?.name, 'rules')
  })
})
