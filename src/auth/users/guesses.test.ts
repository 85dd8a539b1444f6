import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { RequestContext } from '../../core/route.ts'
import { systemClock } from '../../lib/clock.ts'
import type { UserAdmin } from './admin.ts'
import { AuthError } from './errors.ts'
import { userRoutes } from './http.ts'
import type { Users } from './service.ts'

const OWNER = '192.0.2.1'
const right = async (_project: unknown, _name: unknown, password: string) => {
  if (password !== 'right') throw new AuthError('invalid_credentials', 'Invalid login credentials')
  return {}
}
const routes = userRoutes({
  users: { signIn: right, isKnownAt: async (_project: unknown, _name: unknown, address: string) => address === OWNER } as unknown as Users,
  admin: {} as UserAdmin,
  config: { tokenRate: 30, signUpRate: 30, guestRate: 30 },
  version: '1',
  clock: { ...systemClock, monotonic: () => 0 },
  audit: () => {},
})
const token = routes.find(({ path, method }) => path === '/auth/v1/token' && method === 'POST')
const signIn = async (email: string, password: string, remoteAddress: string, kind = 'anon') => {
  const context = {
    principal: { kind, project: 'one', keyId: 'k' },
    project: { ref: 'one' },
    keyFault: null,
    headers: {},
    query: new URLSearchParams('grant_type=password'),
    remoteAddress,
    body: async () => Buffer.from(JSON.stringify({ email, password })),
  } as unknown as RequestContext
  try {
    return (await token?.handle(context))?.status
  } catch (error) {
    return error instanceof AuthError ? error.code : error
  }
}

it('one account is not guessed from many addresses, by whatever spelling, and its owner comes in all the same', async () => {
  for (let n = 0; n < 40; n++) assert.equal(await signIn('a@example.com', 'right', `198.51.100.${n}`), 200)
  for (let n = 0; n < 30; n++) assert.equal(await signIn('a@example.com', 'wrong', `203.0.113.${n}`), 'invalid_credentials')
  for (const name of ['a@example.com', ' A@EXAMPLE.com '])
    for (const password of ['wrong', 'right']) assert.equal(await signIn(name, password, '203.0.113.99'), 'over_request_rate_limit')
  assert.equal(await signIn('a@example.com', 'right', OWNER), 200)
  assert.equal(await signIn('a@example.com', 'right', '203.0.113.98', 'service'), 200)
  assert.equal(await signIn('b@example.com', 'wrong', '203.0.113.99'), 'invalid_credentials')
})
it('where nobody has an account guesses are counted in the same way', async () => {
  for (let n = 0; n < 30; n++) assert.equal(await signIn('nobody@example.com', 'wrong', `203.0.114.${n}`), 'invalid_credentials')
  assert.equal(await signIn('nobody@example.com', 'wrong', '203.0.114.99'), 'over_request_rate_limit')
})
