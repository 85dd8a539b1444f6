import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { after, before, beforeEach, describe, it } from 'node:test'
import type { Database } from '../../backends/database/database.ts'
import type { EmbeddedDatabases } from '../../backends/database/embedded.ts'
import { openTestDatabases } from '../../backends/database/embedded-fixture.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import type { RequestContext } from '../../core/route.ts'
import { SealError, Sealer } from '../../core/seal.ts'
import { insertProject, updateProjectState } from '../../core/store.ts'
import { systemClock } from '../../lib/clock.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { secretRoutes } from './http.ts'
import { pickSecrets, Secrets } from './service.ts'

let folder = ''
let databases: EmbeddedDatabases
let control: Database
const sealer = new Sealer(randomBytes(32))
const projects: Record<'one' | 'two', Project> = {} as never
let changed: string[] = []
let secrets: Secrets
const open = (more: Partial<ConstructorParameters<typeof Secrets>[0]> = {}) =>
  new Secrets({ control, sealer, changed: (ref) => void changed.push(ref), ...more })

before(async () => {
  ;({ databases, folder } = await openTestDatabases())
  control = databases.control
  for (const ref of ['one', 'two'] as const) {
    const id = uuidv7(systemClock.now())
    const dataKey = sealer.makeDataKey(id)
    sealer.useDataKey(id, dataKey)
    await insertProject(control.sql, { id, ref: ref as string as ProjectRef, name: ref, dataKey })
    await updateProjectState(control.sql, ref as string as ProjectRef, 'active')
    projects[ref] = { id, ref: ref as string as ProjectRef, name: ref, state: 'active' }
  }
})
after(async () => {
  await databases?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})
beforeEach(async () => {
  await control.sql`delete from mayfly.secret`
  changed = []
  secrets = open()
})

const refused = (code: string, words: RegExp) => (error: unknown) =>
  error instanceof MayflyError && error.code === code && words.test(error.message) ? true : assert.fail(String(error))
const values = (from: Secrets, project: Project) => ({ ...from.of(project.ref) })

describe('secrets', () => {
  it('are kept sealed, opened in their place only, and told by name and digest', async () => {
    assert.deepEqual(await secrets.set(projects.one, { TOKEN: 'grün &= "x"\n', EMPTY: '' }), ['EMPTY', 'TOKEN'])
    assert.deepEqual(values(secrets, projects.one), { TOKEN: 'grün &= "x"\n', EMPTY: '' })
    const rows = await control.sql<{ name: string; value: Buffer }>`select name, value from mayfly.secret order by name`
    assert.ok(rows.every((row) => !Buffer.from(row.value).includes('grün')))
    const [empty, token] = await secrets.list(projects.one.ref)
    assert.deepEqual([empty?.name, token?.name, Object.keys(token ?? {}).toSorted()], ['EMPTY', 'TOKEN', ['createdAt', 'digest', 'modifiedAt', 'name']])
    assert.match(token?.digest ?? '', /^[0-9a-f]{12}$/)
    // A sealed value under another name, or in another project, opens nothing.
    await control.sql`update mayfly.secret set value = ${rows[1]?.value as Buffer} where name = 'EMPTY'`
    await assert.rejects(open().ready(projects.one.ref), SealError)
  })

  it('have a digest that says whether two are the same, and nothing to who has no key of the instance', async () => {
    const digest = async (from: Secrets, project: Project) => (await from.list(project.ref))[0]?.digest
    await secrets.set(projects.one, { TOKEN: 'a' })
    const first = await digest(secrets, projects.one)
    await secrets.set(projects.one, { TOKEN: 'b' })
    assert.notEqual(await digest(secrets, projects.one), first)
    await secrets.set(projects.one, { TOKEN: 'a' })
    assert.equal(await digest(secrets, projects.one), first)
    await secrets.set(projects.two, { TOKEN: 'a' })
    assert.notEqual(await digest(secrets, projects.two), first)
  })

  it('say which of them are another than before, and to the rest of the node that something is', async () => {
    await secrets.set(projects.one, { A: '1', B: '1' })
    const seen = secrets.of(projects.one.ref)
    changed = []
    assert.deepEqual(await secrets.set(projects.one, { A: '1' }), [])
    assert.equal(secrets.of(projects.one.ref), seen)
    assert.deepEqual(changed, [])
    assert.deepEqual(await secrets.set(projects.one, { B: '2', C: '3' }), ['B', 'C'])
    assert.deepEqual([values(secrets, projects.one), changed], [{ A: '1', B: '2', C: '3' }, ['one']])
    await secrets.remove(projects.one, ['A', 'C'])
    assert.deepEqual([values(secrets, projects.one), changed], [{ B: '2' }, ['one', 'one']])
    assert.equal(secrets.of(projects.two.ref), null)
  })

  it('are removed all together or not at all', async () => {
    await secrets.set(projects.one, { A: '1', B: '2' })
    await assert.rejects(secrets.remove(projects.one, ['A', 'NONE']), refused('secret_not_found', /no secret "NONE"/))
    assert.deepEqual(values(secrets, projects.one), { A: '1', B: '2' })
  })

  it('follow what another process of the node has changed', async () => {
    const other = open()
    await other.ready(projects.one.ref)
    assert.deepEqual(values(other, projects.one), {})
    await secrets.set(projects.one, { A: '1' })
    changed = []
    await other.refresh(projects.one.ref)
    assert.deepEqual([values(other, projects.one), changed], [{ A: '1' }, ['one']])
    // Past the time that things are believed the database is asked by itself.
    let believable = true
    const third = open({ believable: () => believable })
    await third.ready(projects.one.ref)
    await secrets.set(projects.one, { A: '2' })
    await third.ready(projects.one.ref)
    assert.deepEqual(values(third, projects.one), { A: '1' })
    believable = false
    await third.ready(projects.one.ref)
    assert.deepEqual(values(third, projects.one), { A: '2' })
  })

  /** A database whose answers wait for the test, from its first on. */
  const gated = () => {
    const gates: (() => void)[] = []
    const sql = async (...query: Parameters<Database['sql']>) => {
      const rows = await control.sql(...query)
      await new Promise<void>((open) => gates.push(open))
      return rows
    }
    return { gates, control: { ...control, sql, transaction: control.transaction.bind(control) } as unknown as Database }
  }
  const turn = () => new Promise((resolve) => setTimeout(resolve, 20))

  it('are read in the end, however often another project changes its own', async () => {
    const { gates, control: slow } = gated()
    const own = open({ control: slow })
    const ready = own.ready(projects.one.ref)
    for (let i = 0; i < 3; i++) {
      await turn()
      own.forget(projects.two.ref)
      gates.shift()?.()
    }
    await turn()
    assert.ok(own.isReady(projects.one.ref))
    await ready
  })

  it('are never what was read before a change, when that comes later than what was read after it', async () => {
    await secrets.set(projects.one, { A: 'old' })
    const { gates, control: slow } = gated()
    const own = open({ control: slow })
    const first = own.ready(projects.one.ref)
    await turn()
    gates.shift()?.()
    await first
    const late = open({ control: slow, believable: () => false })
    const reading = late.ready(projects.one.ref)
    await turn()
    await secrets.set(projects.one, { A: 'new' })
    const refreshed = late.refresh(projects.one.ref)
    for (let i = 0; i < 4; i++) {
      await turn()
      gates.pop()?.()
    }
    await Promise.all([reading, refreshed])
    assert.equal(late.of(projects.one.ref)?.A, 'new')
  })

  it('refuse names that are none, names of the platform, and values that no variable can have', async () => {
    for (const name of ['', '1A', 'A-B', 'A.B', 'Ä', 'A\n', 'A'.repeat(129), '*'])
      await assert.rejects(secrets.set(projects.one, { [name]: 'v' }), refused('bad_request', /must be 1 to 128 letters/), name)
    for (const name of ['AWS_REGION', 'AWS_ACCESS_KEY_ID', 'MAYFLY_KEY', 'SUPABASE_URL', 'SB_REGION', 'LAMBDA_TASK_ROOT', '_HANDLER', '_X_AMZN_TRACE_ID'])
      await assert.rejects(secrets.set(projects.one, { [name]: 'v' }), refused('bad_request', /the platform's own/), name)
    for (const value of ['a\0b', '\ud800']) await assert.rejects(secrets.set(projects.one, { A: value }), refused('bad_request', /A: .*whole characters/))
    // One that may not be keeps the others out.
    await assert.rejects(secrets.set(projects.one, { GOOD: 'v', AWS_X: 'v' }))
    assert.deepEqual(await secrets.list(projects.one.ref), [])
  })

  it('are at most `secrets`, of `secretValue` bytes each and `secretsTogether`', async () => {
    const most = LIMITS.secretValue.value
    await secrets.set(projects.one, { A: 'x'.repeat(most) })
    await assert.rejects(
      secrets.set(projects.one, { A: `${'x'.repeat(most - 1)}ä` }),
      refused('bad_request', /A: a secret may have 49152 bytes, this has 49153/),
    )
    const many = Object.fromEntries(Array.from({ length: LIMITS.secrets.value - 1 }, (_, i) => [`N${i}`, 'v']))
    await secrets.set(projects.one, many)
    await assert.rejects(secrets.set(projects.one, { ONE_MORE: 'v' }), refused('bad_request', /may have 100 secrets; this would make 101/))
    await secrets.remove(projects.one, Object.keys(many))
    const together = LIMITS.secretsTogether.value
    const rest = { B: 'x'.repeat(most), C: 'x'.repeat(most), D: 'x'.repeat(most), E: 'x'.repeat(most), F: 'x'.repeat(together - 5 * most - 6) }
    await secrets.set(projects.one, rest)
    await assert.rejects(secrets.set(projects.one, { F: `${rest.F}x` }), refused('bad_request', /262144 bytes together; this would make 262145/))
    assert.equal(secrets.of(projects.one.ref)?.F, rest.F)
  })

  it('are counted together when several set them at once', async () => {
    const sets = Array.from({ length: 4 }, (_, i) => open().set(projects.two, Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`S${i}_${n}`, 'v']))))
    const done = await Promise.allSettled(sets)
    assert.equal(done.filter((one) => one.status === 'fulfilled').length, 2)
    assert.equal((await secrets.list(projects.two.ref)).length, 80)
  })

  it('go to who names them: no name, no secret', () => {
    const all = { A: '1', B: '2', constructor: 'c' }
    assert.deepEqual({ ...pickSecrets(all, []) }, {})
    assert.deepEqual({ ...pickSecrets(all, ['B', 'NONE', 'toString']) }, { B: '2' })
    assert.deepEqual({ ...pickSecrets(all, ['constructor']) }, { constructor: 'c' })
    assert.deepEqual({ ...pickSecrets(all, ['*']) }, all)
  })
})

describe('the routes of secrets', () => {
  const ask = async (method: string, body: string, query = '') => {
    const route = secretRoutes(secrets).find((row) => row.method === method)
    const context = { project: projects.one, body: async () => Buffer.from(body), query: new URLSearchParams(query) } as unknown as RequestContext
    return (await route?.handle(context)) ?? assert.fail(method)
  }

  it('show no value, and repeat none in a refusal', async () => {
    const set = await ask('PUT', JSON.stringify({ secrets: { TOKEN: 'hush-hush' } }))
    const list = await ask('GET', '')
    assert.ok(![set.body, list.body].some((body) => String(body).includes('hush')))
    for (const body of [
      '{"secrets":{"TOKEN":hush-hush}}',
      '"hush-hush"',
      '{"secrets":"hush-hush"}',
      '{"secrets":{"T":["hush-hush"]}}',
      '{"secrets":{"AWS_X":"hush-hush"}}',
      '{"secrets":{}}',
      '[]',
    ])
      await assert.rejects(ask('PUT', body), (error: Error) => error instanceof MayflyError && !error.message.includes('hush'), body)
  })

  it('remove by name', async () => {
    await secrets.set(projects.one, { A: '1', B: '2' })
    assert.equal((await ask('DELETE', '', 'name=A&name=B&name=A')).status, 204)
    for (const query of ['', 'name=', 'name=a%00b']) await assert.rejects(ask('DELETE', '', query), refused('bad_request', /names of secrets/), query)
    await assert.rejects(ask('DELETE', '', 'name=A'), refused('secret_not_found', /"A"/))
  })
})
