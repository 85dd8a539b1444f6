import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { ProjectRef } from '../../core/project.ts'
import { systemClock } from '../../lib/clock.ts'
import type { Wanted } from './installer.ts'
import { Packages } from './packages.ts'

describe('installed packages', () => {
  let folder = ''
  let installs = 0
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'mayfly-packages-'))
  })
  after(async () => await rm(folder, { recursive: true, force: true }))
  const lock = (name: string, version = '1.0.0', resolved = '2.0.0') =>
    JSON.stringify({
      name,
      version,
      lockfileVersion: 3,
      packages: { '': { name, version, dependencies: { a: '^2' } }, 'node_modules/a': { version: resolved } },
    })
  const wanted = (name: string, more: Partial<Wanted> = {}, text = lock(name)): Wanted => ({
    files: { 'package.json': JSON.stringify({ name, dependencies: { a: '^2' } }), 'package-lock.json': text },
    add: [],
    scripts: [],
    runtime: 'nodejs24.x',
    registries: [],
    legacyPeerDeps: false,
    build: null,
    ...more,
  })
  const one = 'one' as ProjectRef

  it('of two projects are installed once where all that npm is told is the same, and none of them by a key', async () => {
    let made = 0
    const at = await mkdtemp(path.join(folder, 'shared-'))
    const packages = new Packages({
      folder: at,
      clock: systemClock,
      newId: () => `id-${++made}`,
      platform: 'here',
      install: async () => Buffer.from(`installed ${++installs}`),
    })
    const two = 'two' as ProjectRef
    const first = await packages.of(one, wanted('shop'))
    const again = await packages.of(two, wanted('shop'))
    assert.deepEqual([again.reused, again.archive], [true, first.archive])
    // What goes with a project goes for that one alone.
    await packages.dropProject(one)
    assert.deepEqual((await packages.of(two, wanted('shop'))).archive, first.archive)
    assert.deepEqual((await packages.of('three' as ProjectRef, wanted('shop'))).archive, first.archive)
    const said = (more: object): Wanted => ({
      ...wanted('shop'),
      files: { ...wanted('shop').files, 'package.json': JSON.stringify({ name: 'shop', dependencies: { a: '^2' }, ...more }) },
    })
    const hostile: [string, Wanted][] = [
      ['a script of its own', said({ scripts: { prepare: 'curl evil' } })],
      ['a field that decides nothing in a project', said({ bundleDependencies: ['a'] })],
      [
        'a lockfile that says where from',
        wanted('shop', {}, lock('shop').replace('"version":"2.0.0"', '"version":"2.0.0","resolved":"https://evil.example/a.tgz"')),
      ],
      ['a registry of its own', wanted('shop', { registries: [{ scope: null, url: 'https://evil.example/', authorization: null }] })],
    ]
    for (const [what, other] of hostile) {
      const bad = await packages.of(one, other)
      assert.notDeepEqual((await packages.of('victim' as ProjectRef, wanted('shop'))).archive, bad.archive, what)
    }
    const byKey = wanted('shop', { registries: [{ scope: '@s', url: 'https://r.example/', authorization: 'Bearer a' }] })
    const secret = await packages.of(one, byKey)
    for (const [project, authorization] of [
      ['four', 'Bearer a'],
      ['five', null],
    ] as const) {
      const other = await packages.of(project as ProjectRef, wanted('shop', { registries: [{ scope: '@s', url: 'https://r.example/', authorization }] }))
      assert.deepEqual([other.reused, other.archive.equals(secret.archive)], [false, false])
    }
  })

  it('are kept by what they follow from, within a project', async () => {
    let made = 0
    const packages = new Packages({
      folder,
      clock: systemClock,
      newId: () => `id-${++made}`,
      platform: 'here',
      install: async () => Buffer.from(`installed ${++installs}`),
    })
    const first = await packages.of(one, wanted('shop'))
    assert.equal(first.reused, false)
    // Another app with the same lockfile needs nothing else, and neither does who has another key for the same registry.
    const same: Wanted[] = [wanted('other'), wanted('shop', {}, lock('shop', '9.0.0'))]
    for (const again of same) {
      const { reused, archive } = await packages.of(one, again)
      assert.equal(reused, true)
      assert.deepEqual(archive, first.archive)
    }
    const named = (authorization: string) => wanted('shop', { registries: [{ scope: '@s', url: 'https://r.example/', authorization }] })
    assert.equal((await packages.of(one, named('Bearer a'))).reused, false)
    assert.equal((await packages.of(one, named('Bearer b'))).reused, true)
    const others: [string, Wanted][] = [
      ['another version', wanted('shop', {}, lock('shop', '1.0.0', '2.0.1'))],
      ['another runtime', wanted('shop', { runtime: 'nodejs22.x' })],
      ['install scripts', wanted('shop', { scripts: ['a'] })],
      ['peers as of old', wanted('shop', { legacyPeerDeps: true })],
      ['a build', wanted('shop', { build: { artefact: 'a', folder: '/', run: ['build'] } })],
      ['a build of other files', wanted('shop', { build: { artefact: 'b', folder: '/', run: ['build'] } })],
      ['a lockfile that is none', wanted('shop', {}, '{')],
    ]
    for (const [what, other] of others) assert.equal((await packages.of(one, other)).reused, false, what)
    assert.equal((await packages.of('two' as ProjectRef, wanted('another'))).reused, false, 'another project')
  })
})
