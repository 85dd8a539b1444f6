import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import type { ProjectRef } from '../core/project.ts'
import type { Version } from '../functions/index.ts'
import { Specs } from './specs.ts'

const version = (id: string, more: Partial<Version['definition']> = {}): Version => ({
  id,
  project: 'demo' as ProjectRef,
  functionId: 'f',
  functionName: 'f',
  version: '$LATEST',
  definition: {
    name: 'f',
    runtime: 'nodejs24.x',
    handler: 'index.handler',
    description: '',
    memoryMb: 128,
    timeoutSeconds: 3,
    tmpMb: 512,
    concurrency: 1,
    reuse: 'function',
    egress: 'none',
    role: 'service_role',
    verifyJwt: true,
    async: { maxAttempts: null, maxAgeSeconds: null },
    awsRole: null,
    tags: {},
    ...more,
  },
  codeDir: '/code',
  optDir: null,
  environment: { OWN: '1', MAYFLY_KEY: 'mine' },
  state: 'active',
  stateReason: null,
})

function open() {
  const revoked: string[] = []
  let issued = 0
  const specs = new Specs({
    issueHandle: () => {
      const key = `handle-${++issued}`
      return { key, accessKeyId: 'ASIA', secretAccessKey: 'secret', revoke: () => revoked.push(key) }
    },
    openRelay: () => {},
    publicUrl: () => 'http://127.0.0.1:1',
    relayPorts: () => [1],
    defaultProject: 'demo',
    region: 'us-east-1',
  })
  return { specs, revoked }
}

describe('Specs', () => {
  it('gives one handle to a version, over what its user set, and takes it back when the version goes', () => {
    const { specs, revoked } = open()
    const spec = specs.of(version('a'))
    assert.equal(specs.of(version('a')), spec)
    assert.deepEqual([spec.environment.OWN, spec.environment.MAYFLY_KEY, spec.environment.MAYFLY_URL], ['1', 'handle-1', '{relay}'])
    specs.retire('a')
    assert.deepEqual(revoked, ['handle-1'])
    specs.retire('a')
    assert.deepEqual(revoked, ['handle-1'])
  })
  it('gives no key to a function without a role', () => {
    const { environment } = open().specs.of(version('a', { role: 'none' }))
    for (const name of ['SUPABASE_SERVICE_ROLE_KEY', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']) assert.equal(environment[name], undefined)
  })
  it('forgets the longest unused past rememberedVersions', () => {
    const { specs, revoked } = open()
    for (let i = 0; i < LIMITS.rememberedVersions.value; i++) specs.of(version(`v${i}`))
    assert.deepEqual(revoked, [])
    specs.of(version('v0'))
    specs.of(version('one more'))
    assert.deepEqual(revoked, ['handle-2'])
  })
})
