import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Sql } from '../backends/database/database.ts'
import { FunctionsWorld, PROJECT } from './functions-fixture.ts'
import { listFunctions, listVersions } from './store.ts'

const MANY = 3000
const PAGE = 10

let world: FunctionsWorld
let sql: Sql

before(async () => {
  world = await FunctionsWorld.open()
  sql = world.control.sql
  await world.deploy('seed')
  // Each with one published version beside $LATEST.
  await sql`
    with made as (
      select gen_random_uuid() as id, gen_random_uuid() as version, gen_random_uuid() as published, 'f-' || n as name from generate_series(1, ${MANY}::int) n
    ), functions as (
      insert into mayfly.function (id, project_id, name, version_id, revision_id)
      select made.id, seed.project_id, made.name, made.version, gen_random_uuid() from made, mayfly.function seed where seed.name = 'seed'
    ), versions as (
      insert into mayfly.function_version (id, function_id, project_id, definition, artefact, code_bytes, state)
      select one.id, made.id, seed.project_id, seed.definition, seed.artefact, seed.code_bytes, 'active'
        from made cross join lateral (values (made.version), (made.published)) as one (id), mayfly.function_version seed
    )
    insert into mayfly.published_version (function_id, number, version_id, description, revision_id)
    select made.id, 1, made.published, '', gen_random_uuid() from made`
  await sql`analyze`
})
after(async () => {
  await world?.[Symbol.asyncDispose]()
})

/** Rows of functions that PostgreSQL has looked at while `work` ran. */
async function looked(work: () => Promise<unknown>): Promise<number> {
  const count = async () => {
    await sql`select pg_stat_force_next_flush()`
    const [row] = await sql<{ rows: string }>`
      select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) as rows from pg_stat_user_tables where schemaname = 'mayfly' and relname = 'function'`
    return Number(row?.rows)
  }
  const from = await count()
  await work()
  return (await count()) - from
}

describe('a page of a list', () => {
  it('costs what it shows, however many functions there are', async () => {
    for (const after of ['', 'f-2000', 'f-999']) {
      assert.ok((await looked(() => listFunctions(sql, PROJECT, after, PAGE))) <= 2 * PAGE, `functions behind ${after}`)
      assert.ok((await looked(() => listVersions(sql, PROJECT, null, { name: after, number: 0 }, PAGE))) <= 2 * PAGE, `versions behind ${after}`)
    }
  })

  it('is planned once, not at each request', async () => {
    for (let n = 0; n < 40; n++) await listFunctions(sql, PROJECT, `f-${n}`, PAGE + 1)
    const [plans] = await sql<{ custom: number; general: number }>`
      select max(custom_plans)::int as custom, sum(generic_plans)::int as general from pg_prepared_statements where statement like '%limit 51) as function%limit $3'`
    // The first five are planned for their values in any case.
    assert.ok(plans && plans.custom <= 5 && plans.general > 0, JSON.stringify(plans))
  })

  it('goes through all of them in the order of bytes, none twice', async () => {
    for (const limit of [51, 52, 700]) {
      const names: string[] = []
      for (let page = await listFunctions(sql, PROJECT, '', limit); page.length > 0; page = await listFunctions(sql, PROJECT, names.at(-1) ?? '', limit)) {
        names.push(...page.map((row) => row.name))
      }
      assert.equal(names.length, MANY + 1)
      assert.deepEqual(names, [...new Set(names)].toSorted())
    }
    const versions: string[] = []
    let place = { name: '', number: -1 }
    for (;;) {
      const page = await listVersions(sql, PROJECT, null, place, 700)
      const last = page.at(-1)
      if (!last) break
      versions.push(...page.map((row) => `${row.name}:${row.number}`))
      place = { name: last.name, number: last.number }
    }
    assert.equal(versions.length, 2 * MANY + 1)
    assert.equal(new Set(versions).size, versions.length)
  })
})
