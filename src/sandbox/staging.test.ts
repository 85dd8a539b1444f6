import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
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
})
