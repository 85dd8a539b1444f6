import assert from 'node:assert/strict'
import { it } from 'node:test'
import { openTestDatabases } from '../../backends/database/embedded-fixture.ts'
import { silentLog } from '../../core/log.ts'
import { systemClock } from '../../lib/clock.ts'
import { Data } from '../service.ts'
import { nameOf } from './snapshot.ts'

it('a schema is read anew by the next request when who has changed it says so, whether it is heard of or not', async () => {
  const { databases, close } = await openTestDatabases()
  try {
    await databases.ensureProject('demo')
    await using data = new Data({ databases, config: { connections: 1, sharedSessions: 1, waitMs: 10_000, maxRows: 10 }, clock: systemClock, log: silentLog })
    const { sql } = await databases.openProject('demo')
    await sql`alter event trigger mayfly_schema_changed disable`
    await using owner = await databases.openOwner('demo')
    const { schema } = await data.placeOf('demo')
    const has = async (name: string) => (await schema.current()).relations.has(nameOf({ schema: 'public', name }))
    // What is heard of is over before: that it listens makes one read it again.
    for (;;) if (!(await has('a')) && (await schema.again(await schema.current())) === null) break
    await owner.script('create table a (id int primary key)')
    assert.equal(await has('a'), false)
    await data.changed('demo')
    assert.deepEqual(await Promise.all([has('a'), has('a')]), [true, true])
    // Also where it is being read already, as it was before.
    await owner.script('create table b (id int primary key)')
    await data.changed('demo')
    const reading = has('b')
    await owner.script('create table c (id int primary key)')
    await data.changed('demo')
    assert.deepEqual([await has('c'), await reading], [true, true])
    await data.changed('nobody')
  } finally {
    await close()
  }
})
