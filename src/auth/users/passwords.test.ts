import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LIMITS } from '../../core/limits.ts'
import { hashSync } from 'bcryptjs'
import { isBcrypt } from './bcrypt.ts'
import { AuthError } from './errors.ts'
import { Passwords, readHash } from './passwords.ts'

/** Few of the machine's seconds: a hash of one KiB for each lane. */
const CHEAP = '$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'

describe('passwords', () => {
  it('fit the hash that was made of them, and no other', async () => {
    const passwords = new Passwords(4)
    const [hash, other] = await Promise.all([passwords.hash('correct horse'), passwords.hash('correct horse')])
    assert.match(hash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
    assert.notEqual(hash, other)
    assert.deepEqual(await Promise.all([passwords.fits('correct horse', hash), passwords.fits('correct horsE', hash), passwords.fits('', hash)]), [
      true,
      false,
      false,
    ])
  })
  it('fit nothing where there is no hash, after the same work', async () => {
    const passwords = new Passwords(4)
    assert.deepEqual(await Promise.all(['', 'x'].map((password) => passwords.fits(password, null))), [false, false])
    assert.equal(await passwords.fits('x', '$2b$10$abc'), false)
  })
  it('fit a hash of bcrypt that was brought along, of a cost that may be asked for', async () => {
    const passwords = new Passwords(4)
    const hash = hashSync('correct horse', 4)
    assert.deepEqual(await Promise.all([hash, hash.replace('$2b$', '$2a$'), hash.replace('$2b$', '$2y$')].map((one) => passwords.fits('correct horse', one))), [
      true,
      true,
      true,
    ])
    assert.equal(await passwords.fits('correct horsE', hash), false)
    const costing = (cost: number) => hash.replace('$04$', `$${String(cost).padStart(2, '0')}$`)
    assert.ok(isBcrypt(costing(LIMITS.passwordHashCost.value)))
    for (const bad of [costing(LIMITS.passwordHashCost.value + 1), costing(3), `${hash}x`, hash.slice(1), '$2x$04$', null]) {
      assert.ok(!isBcrypt(bad))
      assert.equal(await passwords.fits('correct horse', bad), false)
    }
  })
  it('are not compared with a hash that asks for more than it may', () => {
    const asking = (memory: number, passes = 1, lanes = 1) => CHEAP.replace('m=8,t=1,p=1', `m=${memory},t=${passes},p=${lanes}`)
    assert.ok(readHash(asking(LIMITS.passwordHashMemory.value)))
    for (const bad of [
      asking(LIMITS.passwordHashMemory.value + 1),
      asking(8, 0),
      asking(8, 11),
      asking(8, 1, 0),
      asking(8, 1, 2),
      '',
      '$argon2i$',
      `${CHEAP}$`,
    ])
      assert.equal(readHash(bad), null, bad)
  })
  it('are checked some at a time: of more than may wait the last are refused at once', async () => {
    const passwords = new Passwords(2)
    const most = LIMITS.passwordHashesWaiting.value + 1
    const all = await Promise.allSettled(Array.from({ length: most + 5 }, () => passwords.fits('x', CHEAP)))
    const refused = all.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
    assert.equal(refused.length, 5)
    for (const error of refused) assert.ok(error instanceof AuthError && error.code === 'over_request_rate_limit')
    assert.equal(await passwords.fits('x', CHEAP), false)
  })
})
