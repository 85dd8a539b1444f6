import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { clearSlot, Staging } from './staging.ts'

describe('Staging', () => {
  let folder = ''
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-staging-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))
  let made = 0
  const slot = () => {
    const at = path.join(folder, `slot-${made++}`)
    for (const name of ['code/lib', 'opt/lib']) mkdirSync(path.join(at, name), { recursive: true })
    return at
  }
  const source = (files: number) => {
    const key = `v${made++}`
    const [codeDir, cacheDir] = [path.join(folder, `${key}-code`), path.join(folder, `${key}-cache`)]
    for (const dir of [codeDir, cacheDir]) mkdirSync(dir)
    for (let i = 0; i < files; i++) writeFileSync(path.join(codeDir, `${i}.mjs`), '')
    writeFileSync(path.join(cacheDir, 'entry'), '')
    return { key, codeDir, optDir: null, cacheDir }
  }
  for (const [name, files] of [
    ['few', 2],
    ['many', 400],
  ] as const) {
    it(`gives code of ${name} files without a compile cache that goes meanwhile, and nothing where the code is gone`, async () => {
      const staging = await Staging.open(path.join(folder, `staging-${name}`))
      const whole = source(files)
      const first = slot()
      await staging.prepare(whole)
      await staging.give(whole, first)
      assert.deepEqual([readdirSync(path.join(first, 'code')).length, readdirSync(path.join(first, 'cache'))], [files, ['entry']])
      // The copies that were made ahead are used up: the next is made of what is there.
      for (let i = 0; i < 8; i++) await staging.give(whole, slot())
      rmSync(whole.cacheDir, { recursive: true })
      const second = slot()
      await clearSlot(second)
      assert.deepEqual([readdirSync(path.join(second, 'code')), readdirSync(path.join(second, 'opt'))], [[], []])
      await staging.give(whole, second, true)
      assert.equal(readdirSync(path.join(second, 'code')).length, files)
      assert.ok(!existsSync(path.join(second, 'cache')) || readdirSync(path.join(second, 'cache')).length <= 1)
      const late = source(files)
      rmSync(late.cacheDir, { recursive: true })
      const third = slot()
      await staging.prepare(late)
      await staging.give(late, third)
      assert.equal(readdirSync(path.join(third, 'code')).length, files)
      const gone = source(files)
      rmSync(gone.codeDir, { recursive: true })
      await assert.rejects(staging.give(gone, slot()), { code: 'ENOENT' })
    })
  }

  it('gives a small tree as it is, its folders and symbolic links too', async () => {
    const staging = await Staging.open(path.join(folder, 'staging-tree'))
    const whole = source(1)
    mkdirSync(path.join(whole.codeDir, 'a', 'b'), { recursive: true })
    writeFileSync(path.join(whole.codeDir, 'a', 'b', 'c.mjs'), 'export {}')
    symlinkSync('b/c.mjs', path.join(whole.codeDir, 'a', 'd.mjs'))
    await staging.prepare(whole)
    for (let round = 0; round < 2; round++) {
      const at = slot()
      await staging.give(whole, at)
      assert.deepEqual(readdirSync(path.join(at, 'code'), { recursive: true }).sort(), ['0.mjs', 'a', 'a/b', 'a/b/c.mjs', 'a/d.mjs'])
      assert.equal(readlinkSync(path.join(at, 'code', 'a', 'd.mjs')), 'b/c.mjs')
      assert.equal(statSync(path.join(at, 'code', 'a', 'b', 'c.mjs')).ino, statSync(path.join(whole.codeDir, 'a', 'b', 'c.mjs')).ino)
    }
  })

  it('hands packages that two codes of a project have in common from the copy of one to that of the other, whole, and none that a sandbox was given', async () => {
    const staging = await Staging.open(path.join(folder, 'staging-alike'))
    const app = (project: string, name: string, packages: string | null) => {
      const codeDir = path.join(folder, project, name)
      mkdirSync(path.join(codeDir, 'node_modules', 'a'), { recursive: true })
      for (let i = 0; i < 50; i++) writeFileSync(path.join(codeDir, 'node_modules', 'a', `${i}.js`), '')
      writeFileSync(path.join(codeDir, `${name}.js`), '')
      if (packages !== null) writeFileSync(`${codeDir}.packages`, packages)
      return { key: `${project} ${name}`, codeDir, optDir: null, cacheDir: null }
    }
    const folderOf = (at: string) => statSync(path.join(at, 'node_modules')).ino
    const copies = () => readdirSync(path.join(folder, 'staging-alike')).filter((name) => !name.endsWith('.part'))
    const ready = () => copies().map((name) => folderOf(path.join(folder, 'staging-alike', name, 'code')))
    const given = async (source: ReturnType<typeof app>) => {
      const at = slot()
      await staging.give(source, at)
      assert.equal(readdirSync(path.join(at, 'code', 'node_modules', 'a')).length, 50)
      assert.deepEqual(readdirSync(path.join(at, 'code')).toSorted(), [`${path.basename(source.codeDir)}.js`, 'node_modules'].toSorted())
      return folderOf(path.join(at, 'code'))
    }
    const first = app('p', 'first', 'same')
    await staging.prepare(first)
    while (copies().length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    const before = ready()
    const last = await given(app('p', 'second', 'same'))
    assert.ok(before.includes(last), 'the folder of another copy')
    // Other packages, those of another project and those of which nothing is known are made for themselves.
    for (const other of [app('p', 'third', 'other'), app('q', 'fourth', 'same'), app('p', 'fifth', null)]) assert.ok(!before.includes(await given(other)))
    const next = await given(app('p', 'sixth', 'same'))
    assert.ok(before.includes(next) && next !== last, 'no two are given the same')
    // None is left ready, so that what sandboxes have is not given again.
    assert.ok(!before.includes(await given(app('p', 'seventh', 'same'))))
  })

  it('takes packages back from a sandbox that ended and could only read them, for codes of its project that have the same', async () => {
    const home = path.join(folder, 'staging-back')
    const staging = await Staging.open(home)
    const app = (project: string, name: string) => {
      const codeDir = path.join(folder, 'back', project, name)
      mkdirSync(path.join(codeDir, 'node_modules', 'a'), { recursive: true })
      for (let i = 0; i < 50; i++) writeFileSync(path.join(codeDir, 'node_modules', 'a', `${i}.js`), '')
      writeFileSync(`${codeDir}.packages`, 'same')
      return { key: `${project} ${name}`, codeDir, optDir: null, cacheDir: null }
    }
    const given = async (source: ReturnType<typeof app>) => {
      const at = slot()
      await staging.give(source, at)
      assert.equal(readdirSync(path.join(at, 'code', 'node_modules', 'a')).length, 50)
      return { at, ino: statSync(path.join(at, 'code', 'node_modules')).ino }
    }
    const first = await given(app('p', 'first'))
    const other = await given(app('q', 'other'))
    const changed = await given(app('p', 'changed'))
    staging.takeBack(first.at, true)
    staging.takeBack(other.at, true)
    staging.takeBack(changed.at, false)
    assert.deepEqual(
      [first, other, changed].map(({ at }) => readdirSync(path.join(at, 'code'))),
      [[], [], ['node_modules']],
    )
    const inos = [(await given(app('p', 'second'))).ino, (await given(app('p', 'third'))).ino]
    assert.equal(inos[0], first.ino, 'of its own project')
    assert.ok(!inos.includes(other.ino) && !inos.includes(changed.ino))
    // Once, and of a slot that is unknown nothing.
    staging.takeBack(first.at, true)
    staging.takeBack(slot(), true)
    // What nobody can have any more goes, what is given back later too.
    const last = await given(app('q', 'last'))
    for (const key of ['other', 'last']) await staging.forget(`q ${key}`)
    staging.takeBack(last.at, true)
    assert.ok(existsSync(path.join(last.at, 'code', 'node_modules')))
    assert.deepEqual(
      readdirSync(home).filter((name) => name.startsWith('back.')),
      [],
    )
    // What was made ahead and is wanted no more serves as well.
    const ahead = app('p', 'ahead')
    await staging.prepare(ahead)
    // Those that were given are being removed meanwhile.
    const ready = () => {
      const trees = readdirSync(home).map((name) => path.join(home, name, 'code', 'node_modules'))
      return trees.flatMap((tree) => (tree.includes('.part') ? [] : (statSync(tree, { throwIfNoEntry: false })?.ino ?? [])))
    }
    while (ready().length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    const before = ready()
    await staging.forget(ahead.key)
    assert.ok(before.includes((await given(app('p', 'fourth'))).ino))
  })
})
