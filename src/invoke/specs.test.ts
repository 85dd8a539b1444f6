import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import type { ProjectRef } from '../core/project.ts'
import type { Version } from '../functions/index.ts'
import type { SandboxSpec } from '../sandbox/index.ts'
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
    reservedConcurrency: null,
    provisioned: 0,
    secrets: [],
    async: { maxAttempts: null, maxAgeSeconds: null },
    layers: [],
    awsRole: null,
    driver: null,
    framework: null,
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
  const outdated: SandboxSpec[] = []
  const world: { secrets: Record<string, string> | null } = { secrets: null }
  let issued = 0
  const specs = new Specs({
    issueHandle: () => {
      const key = `handle-${++issued}`
      return { key, accessKeyId: 'ASIA', secretAccessKey: 'secret', revoke: () => revoked.push(key) }
    },
    openRelay: () => {},
    countEgress: () => {},
    publicUrl: () => 'http://127.0.0.1:1',
    relayPorts: () => [1],
    defaultProject: 'demo',
    region: 'us-east-1',
    secretsOf: () => world.secrets,
    outdated: (spec) => void outdated.push(spec),
  })
  return { specs, revoked, world, outdated }
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
  it('tells a version the secrets that it names, over its environment and under what is ours', () => {
    const { specs, world } = open()
    world.secrets = { OWN: 'secret', OTHER: 'not named', MAYFLY_KEY: 'mine too' }
    const { environment } = specs.of(version('a', { secrets: ['MAYFLY_KEY', 'MISSING', 'OWN'] }))
    assert.deepEqual([environment.OWN, environment.OTHER, environment.MISSING, environment.MAYFLY_KEY], ['secret', undefined, undefined, 'handle-1'])
    assert.equal(specs.of(version('b', { secrets: ['*'] })).environment.OTHER, 'not named')
    assert.equal(specs.of(version('c')).environment.OTHER, undefined)
  })
  it('makes another spec with the same handle when a secret that it names is another, and says which is outdated', () => {
    const { specs, world, outdated, revoked } = open()
    world.secrets = { A: '1', B: '1' }
    const [named, all, none] = [version('named', { secrets: ['A'] }), version('all', { secrets: ['*'] }), version('none')]
    const before = [named, all, none].map((one) => specs.of(one))
    world.secrets = { A: '1', B: '2' }
    specs.secretsChanged('demo' as ProjectRef)
    assert.deepEqual(outdated, [before[1]])
    assert.deepEqual([specs.of(named), specs.of(none)], [before[0], before[2]])
    assert.deepEqual([specs.of(all).environment.B, specs.of(all).environment.MAYFLY_KEY], ['2', before[1]?.environment.MAYFLY_KEY])
    // A call that nobody told of a change sees it all the same.
    world.secrets = { B: '2' }
    assert.equal(specs.of(named).environment.A, undefined)
    assert.equal(outdated.length, 2)
    // What is not known for a moment is no change.
    world.secrets = null
    assert.equal(specs.of(all).environment.B, '2')
    assert.deepEqual([outdated.length, revoked], [2, []])
  })
  it('tells the runtime of a JSON log, and of a log group of its own', () => {
    const { specs } = open()
    const kept = { tracing: 'PassThrough', deadLetterArn: null, snapStart: 'None', vpcCleared: false } as const
    const logged = specs.of(version('json', { kept: { ...kept, logging: { format: 'JSON', applicationLevel: 'WARN', systemLevel: 'INFO', group: '/own' } } }))
    const { AWS_LAMBDA_LOG_FORMAT, AWS_LAMBDA_LOG_LEVEL, AWS_LAMBDA_LOG_GROUP_NAME } = logged.environment
    assert.deepEqual([AWS_LAMBDA_LOG_FORMAT, AWS_LAMBDA_LOG_LEVEL, AWS_LAMBDA_LOG_GROUP_NAME], ['JSON', 'WARN', '/own'])
    const text = specs.of(version('text', { kept: { ...kept, logging: null } }))
    assert.deepEqual([text.environment.AWS_LAMBDA_LOG_FORMAT, text.environment.AWS_LAMBDA_LOG_GROUP_NAME], [undefined, '/aws/lambda/f'])
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
