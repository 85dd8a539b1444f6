import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Project } from '../../core/project.ts'
import type { RequestContext } from '../../core/route.ts'
import { MayflyError } from '../../core/errors.ts'
import { LambdaTable, ONE, TWO } from '../dialects/lambda/table-fixture.ts'
import { urlRoutes } from './http.ts'
import { FunctionUrls } from './service.ts'

let table: LambdaTable
let urls: FunctionUrls
const open = (believable = () => true) =>
  new FunctionUrls({ control: table.control, functionId: async (ref, name) => (await table.functions.find(ref, name))?.id ?? null, believable })
before(async () => {
  table = await LambdaTable.open()
  urls = open()
  for (const name of ['a', 'b']) await table.create(name)
})
after(async () => {
  await table?.[Symbol.asyncDispose]()
})
const NONE = { authType: 'NONE', invokeMode: 'BUFFERED', cors: null } as const
const refused = (code: string) => (error: unknown) => error instanceof MayflyError && error.code === code

describe('function URLs', () => {
  it('are found by their id in any case, and what is none by nobody', async () => {
    const made = await urls.create(ONE, 'a', null, NONE)
    assert.deepEqual(await urls.find(made.id.toUpperCase()), made)
    for (const none of ['', 'x', 'a'.repeat(31), 'a'.repeat(33), `${made.id.slice(1)}é`, '\0'.repeat(32), 'b'.repeat(32)])
      assert.equal(await urls.find(none), null)
    await assert.rejects(urls.create(ONE, 'a', null, NONE), refused('function_url_exists'))
    await assert.rejects(urls.create(ONE, 'none', null, NONE), refused('function_not_found'))
    await assert.rejects(urls.create(ONE, 'a', 'none', NONE), refused('alias_not_found'))
    await assert.rejects(urls.create(TWO, 'a', null, NONE), refused('function_not_found'))
  })

  it('are another at once where they were changed, and elsewhere when that is heard', async () => {
    const made = await urls.create(ONE, 'b', null, NONE)
    const other = open()
    assert.equal((await other.find(made.id))?.authType, 'NONE')
    await urls.update(ONE, 'b', null, { authType: 'AWS_IAM' })
    assert.equal((await urls.find(made.id))?.authType, 'AWS_IAM')
    assert.equal((await other.find(made.id))?.authType, 'NONE')
    other.forget(ONE)
    assert.equal((await other.find(made.id))?.authType, 'AWS_IAM')
    await urls.delete(ONE, 'b', null)
    assert.equal(await urls.find(made.id), null)
    for (const work of [() => urls.delete(ONE, 'b', null), () => urls.update(ONE, 'b', null, {}), () => urls.delete(ONE, 'none', null)])
      await assert.rejects(work, refused('function_url_not_found'))
  })

  it('take two changes at once that say different things, and lose neither', async () => {
    const cors = { allowOrigins: ['*'] }
    await urls.create(ONE, 'b', null, NONE)
    for (let i = 0; i < 10; i++) {
      await urls.update(ONE, 'b', null, NONE)
      await Promise.all([urls.update(ONE, 'b', null, { authType: 'AWS_IAM' }), urls.update(ONE, 'b', null, { cors })])
      const now = await urls.get(ONE, 'b', null)
      assert.deepEqual([now?.authType, now?.cors, now?.invokeMode], ['AWS_IAM', cors, 'BUFFERED'], 'an address that was to be closed is open')
    }
    await urls.update(ONE, 'b', null, { cors: null })
    assert.equal((await urls.get(ONE, 'b', null))?.cors, null)
    await urls.delete(ONE, 'b', null)
  })

  it('ask for policies where the project says so', async () => {
    const { id } = (await table.control.sql<{ id: string }>`select id from mayfly.project where ref = ${ONE}`)[0] as { id: string }
    const one: Project = { id, ref: ONE, name: 'one', state: 'active' }
    assert.equal(await urls.isStrict(ONE), false)
    await urls.setStrict(one, true)
    assert.deepEqual([await urls.isStrict(ONE), await urls.isStrict(TWO)], [true, false])
    await urls.setStrict(one, false)
    assert.equal(await urls.isStrict(ONE), false)
  })

  it('refuse by the management API what is no setting', async () => {
    const routes = urlRoutes({ urls, urlAddress: (origin, id) => `${origin}/${id}` })
    const ask = async (method: string, path: string, body: string, query = '') => {
      const route = routes.find((row) => row.method === method && row.path.endsWith(path)) ?? assert.fail(path)
      const context = {
        params: { name: 'a' },
        project: { ref: ONE },
        query: new URLSearchParams(query),
        body: async () => Buffer.from(body),
        origin: 'http://h',
      }
      return await route.handle(context as unknown as RequestContext)
    }
    for (const body of ['[]', '{"auth":"jwt"}', '{"stream":1}', '{"cors":{}}']) await assert.rejects(ask('PUT', '/url', body), refused('bad_request'), body)
    await assert.rejects(ask('PUT', '/url', '{'), refused('body_not_json'))
    for (const alias of ['1', '$LATEST', 'a%00', '']) await assert.rejects(ask('DELETE', '/url', '', `alias=${alias}`), refused('bad_request'), alias)
    await assert.rejects(ask('PUT', '/function-urls', '{"strict":"yes"}'), refused('bad_request'))
    assert.equal((await ask('PUT', '/url', '')).status, 200)
  })
})
