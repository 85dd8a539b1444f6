import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, describe, it } from 'node:test'
import { StartError } from './data-directory.ts'
import { instanceKey, keyCheck, SealError, Sealer } from './seal.ts'

const PLACE = { project: 'p', table: 't', column: 'c', row: 'r' }
const made = () => {
  const key = randomBytes(32)
  const sealer = new Sealer(key)
  const dataKeys = new Map(['p', 'q'].map((project) => [project, sealer.makeDataKey(project)]))
  for (const [project, dataKey] of dataKeys) sealer.useDataKey(project, dataKey)
  return { key, sealer, dataKeys }
}

describe('Sealer', () => {
  const { sealer, dataKeys } = made()
  const sealed = sealer.seal(PLACE, Buffer.from('secret'))

  it('opens what it sealed, in the same place', () => assert.equal(sealer.open(PLACE, sealed).toString(), 'secret'))
  it('seals the same value differently each time, and shows nothing of it', () => {
    assert.notDeepEqual(sealer.seal(PLACE, Buffer.from('secret')), sealed)
    assert.ok(!sealed.includes('secret'))
  })
  for (const moved of [{ project: 'q' }, { table: 'u' }, { column: 'd' }, { row: 's' }, { table: 't/1:c', column: '' }]) {
    it(`does not open a value moved to ${JSON.stringify(moved)}`, () => assert.throws(() => sealer.open({ ...PLACE, ...moved }, sealed), SealError))
  }
  it('does not open a value with any bit flipped', () => {
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const bytes = Buffer.from(sealed)
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7))
      assert.throws(() => sealer.open(PLACE, bytes), SealError, `bit ${bit}`)
    }
  })
  it('does not open a value cut at any byte, or made longer', () => {
    for (let length = 0; length < sealed.length; length++) assert.throws(() => sealer.open(PLACE, sealed.subarray(0, length)), SealError, `${length} bytes`)
    assert.throws(() => sealer.open(PLACE, Buffer.concat([sealed, Buffer.of(0)])), SealError)
  })
  it('takes no data key of another project, nor one sealed with another instance key', () => {
    assert.throws(() => new Sealer(randomBytes(32)).useDataKey('p', dataKeys.get('p') as Buffer), SealError)
    assert.throws(() => sealer.useDataKey('p', dataKeys.get('q') as Buffer), SealError)
  })
  it('opens nothing of a project it was told to forget', () => {
    const other = made().sealer
    const value = other.seal(PLACE, Buffer.from('x'))
    other.forget('p')
    assert.throws(() => other.open(PLACE, value), SealError)
  })
})

describe('instanceKey', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-key-'))
  after(() => rmSync(folder, { recursive: true }))
  const file = path.join(folder, 'instance.key')

  it('is not made for a directory that has data', async () => {
    await assert.rejects(instanceKey({ file, given: null, isNew: false }), (error) => error instanceof StartError && /missing/.test(error.message))
  })
  it('is made once, readable by its owner alone, and the same afterwards', async () => {
    const key = await instanceKey({ file, given: null, isNew: true })
    assert.equal(key.length, 32)
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.deepEqual(await instanceKey({ file, given: null, isNew: false }), key)
    assert.deepEqual(await instanceKey({ file, given: null, isNew: true }), key)
  })
  it('may be given, and must then be 32 bytes; a wrong one is not repeated', async () => {
    const given = randomBytes(32).toString('base64')
    assert.equal((await instanceKey({ file, given: `${given}\n`, isNew: false })).toString('base64'), given)
    await assert.rejects(instanceKey({ file, given: 'c2hvcnQ=', isNew: false }), (error) => error instanceof StartError && !error.message.includes('c2hvcnQ'))
  })
  it('is refused when the file is damaged', async () => {
    writeFileSync(file, 'half')
    await assert.rejects(instanceKey({ file, given: null, isNew: false }), StartError)
  })
  it('has a check that differs between keys', () => assert.notEqual(keyCheck(randomBytes(32)), keyCheck(randomBytes(32))))
})
