import assert from 'node:assert/strict'
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { LIMITS } from '../../core/limits.ts'
import type { CallResult, Sandboxes, SandboxSpec } from '../../sandbox/index.ts'
import { Installer } from './installer.ts'
import { Registry } from './registry.ts'

describe('a sandbox that installs', () => {
  let folder = ''
  const seen: SandboxSpec[] = []
  const retired: string[] = []
  let result: CallResult
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'mayfly-install-'))
    for (const name of ['npm', 'yazl', 'buffer-crc32']) {
      await mkdir(path.join(folder, 'packages', name), { recursive: true })
      await writeFile(path.join(folder, 'packages', name, 'package.json'), '{"version":"1.0.0"}')
    }
    await mkdir(path.join(folder, 'runtimes', 'installer'), { recursive: true })
    await writeFile(path.join(folder, 'runtimes', 'installer', 'install.mjs'), '')
  })
  after(async () => await rm(folder, { recursive: true, force: true }))

  const bodyOf = (bytes: number): Extract<CallResult, { kind: 'http' }>['body'] => ({
    receivedBytes: 0,
    takeWhole: () => null,
    async *[Symbol.asyncIterator]() {
      const piece = new Uint8Array(1024 * 1024)
      for (let left = bytes; left > 0; left -= piece.length) yield piece.subarray(0, Math.min(left, piece.length))
    },
  })
  const install = () => {
    const lease = { run: async () => result, [Symbol.dispose]: () => {} }
    const sandboxes = {
      acquire: async (spec: SandboxSpec) => {
        seen.push(spec)
        return lease
      },
      retire: (key: string) => void retired.push(key),
    } as unknown as Sandboxes
    const registry = new Registry({ url: 'https://registry.example/', token: 'secret' })
    const installer = new Installer({
      sandboxes,
      registry,
      packages: path.join(folder, 'packages'),
      runtimes: path.join(folder, 'runtimes'),
      folder: path.join(folder, 'tools'),
      newId: () => 'id',
    })
    return installer.install({
      files: { 'package.json': '{}' },
      add: [],
      scripts: [],
      runtime: 'nodejs24.x',
      registries: [],
      legacyPeerDeps: false,
      build: null,
    })
  }

  it('knows no secret, has no network, serves once, and ends within its time', async () => {
    result = { kind: 'http', status: 200, headers: [], body: bodyOf(10) }
    assert.equal((await install()).length, 10)
    const spec = seen[0] as SandboxSpec
    assert.equal(spec.timeoutMs, LIMITS.installTime.value)
    assert.equal(spec.reuse, 'never')
    assert.equal(spec.identity.role, 'none')
    assert.equal(spec.egress.mode, 'none')
    assert.deepEqual(Object.keys(spec.environment).sort(), ['HOME', 'LANG', 'MAYFLY_URL'])
    assert.ok(!JSON.stringify(spec).includes('secret'))
    assert.deepEqual(retired, [spec.key])
  })

  it('says what npm said, and takes no more than an archive may hold', async () => {
    const said = Buffer.from(JSON.stringify({ said: 'npm error 404 at http://127.0.0.1:9001/x' }))
    result = {
      kind: 'http',
      status: 422,
      headers: [],
      body: {
        receivedBytes: 0,
        takeWhole: () => null,
        [Symbol.asyncIterator]: async function* () {
          yield said
        },
      },
    }
    await assert.rejects(install(), { code: 'dependencies_failed', message: /npm error 404 at \/x/ })
    result = { kind: 'error', errorType: 'Sandbox.Timedout', payload: new Uint8Array() }
    await assert.rejects(install(), { code: 'dependencies_failed', message: /took too long/ })
    result = { kind: 'http', status: 200, headers: [], body: bodyOf(LIMITS.unzippedCode.value + 1) }
    await assert.rejects(install(), { code: 'dependencies_failed', message: /larger than/ })
  })
})
