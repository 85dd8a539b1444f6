import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { buildSnapshot } from './schema/build.ts'
import type { Snapshot } from './schema/snapshot.ts'
import { mayShareWrite, type Setting } from './transaction.ts'

describe('a write that is quick', () => {
  const snapshotOf = (more: Partial<Parameters<typeof buildSnapshot>[0]> = {}): Snapshot =>
    buildSnapshot(
      {
        handlers: [],
        relations: [],
        foreignKeys: [],
        routines: [],
        enums: [],
        roles: [],
        settings: {},
        announced: true,
        acts_outside: false,
        leaves_settings: false,
        ...more,
      },
      'authenticator',
      { maxRows: 1_000 },
    )
  const setting: Setting = {
    identity: { role: 'anon', claims: { role: 'anon' } },
    schema: 'public',
    method: 'POST',
    path: '/items',
    headers: '{}',
    timezone: null,
    isReadOnly: false,
    depth: 0,
    hoisted: new Map(),
    rollsBack: false,
  }
  const query = { main: { text: 'insert', values: [] }, estimate: null, tellsResponse: false }
  const may = (snapshot: Snapshot, more: Partial<Setting> = {}) => mayShareWrite(snapshot, { ...setting, ...more }, query)
  const ofRole = (...settings: string[]) => snapshotOf({ roles: [{ role: 'anon', settings, ofDatabase: false }] })

  it('may stand behind others where it can be done twice unseen, and not else', () => {
    assert.equal(may(snapshotOf()), true)
    assert.equal(may(snapshotOf({ leaves_settings: true })), true)
    assert.equal(may(snapshotOf({ acts_outside: true })), false)
    assert.equal(may(snapshotOf({ settings: { db_pre_request: 'public.checked' } })), false)
    assert.equal(may(snapshotOf(), { rollsBack: true }), false)
    assert.equal(may(snapshotOf(), { hoisted: new Map([['statement_timeout', '1s']]) }), false)
  })
  it('has a session of its own where its role has another isolation, or less time than those that share have', () => {
    assert.equal(may(ofRole('default_transaction_isolation=serializable')), false)
    for (const timeout of ['10', '10ms', '49', 'soon', '-1']) assert.equal(may(ofRole(`statement_timeout=${timeout}`)), false, timeout)
    for (const timeout of ['0', '50', '50ms', '3s', ' 1 min ']) assert.equal(may(ofRole(`statement_timeout=${timeout}`)), true, timeout)
    assert.equal(may(ofRole('lock_timeout=19')), false)
    assert.equal(may(ofRole('lock_timeout=1s')), true)
    assert.equal(may(snapshotOf({ roles: [{ role: 'authenticated', settings: ['statement_timeout=1'], ofDatabase: false }] })), true)
  })
})
