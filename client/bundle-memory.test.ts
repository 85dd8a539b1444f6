import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { BundleMemory } from './bundle-memory.ts'
import { bundleOnce } from './bundler.ts'

let folder = ''
let root = ''
let bundled = 0
const memory = () =>
  new BundleMemory(path.join(folder, 'cache'), async () => {
    bundled++
    return bundleOnce
  })
/** As if it had been written long ago, but for its contents and the time of its change, which nobody can set. */
const write = (file: string, text: string) => {
  const at = path.join(root, file)
  mkdirSync(path.dirname(at), { recursive: true })
  writeFileSync(at, text)
  age()
}
const age = () => {
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) utimesSync(path.join(entry.parentPath, entry.name), 1, 1)
  }
  utimesSync(root, 1, 1)
}
const bundle = async (more: object = {}) => {
  const made = await memory().bundle({ root, entry: path.join(root, 'index.ts'), node: '24', hasLayers: false, ...more })
  return Buffer.from(made.code).toString()
}
/** Whether it was bundled anew. */
const isAnew = async (more: object = {}) => {
  const before = bundled
  await bundle(more)
  return bundled > before
}

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'mayfly-memory-'))
  root = path.join(folder, 'app')
  write('index.ts', "import { one } from './one.ts'\nimport two from 'two'\nexport const handler = async () => [one, two]\n")
  write('one.ts', 'export const one: number = 11\n')
  write('node_modules/two/package.json', '{"name":"two","main":"main.js"}')
  write('node_modules/two/main.js', 'module.exports = 22\n')
  write('node_modules/two/other.js', 'module.exports = 33\n')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('what is as it was is not bundled again, and gives the same bytes', async () => {
  const first = await bundle()
  assert.equal(await isAnew(), false)
  assert.equal(await bundle(), first)
  assert.match(first, /22/)
  for (const file of readdirSync(path.join(folder, 'cache'))) assert.equal(statSync(path.join(folder, 'cache', file)).mode & 0o777, 0o600)
  assert.equal(await isAnew({ node: '22' }), true)
})

test('each change of what it follows from is seen', async () => {
  await bundle()
  const changes: Record<string, () => void> = {
    'a file, of the same length': () => write('one.ts', 'export const one: number = 12\n'),
    'a package': () => write('node_modules/two/main.js', 'module.exports = 23\n'),
    "a package's main file": () => write('node_modules/two/package.json', '{"name":"two","main":"other.js"}'),
    'settings that were not there': () => write('tsconfig.json', '{"compilerOptions":{"target":"es2020"}}'),
    settings: () => write('tsconfig.json', '{"compilerOptions":{"target":"es2021"}}'),
    'a package of its own beside': () => mkdirSync(path.join(root, 'node_modules', 'three')),
    'a link to another folder': () => {
      rmSync(path.join(root, 'node_modules', 'two'), { recursive: true })
      mkdirSync(path.join(root, 'elsewhere'))
      writeFileSync(path.join(root, 'elsewhere', 'package.json'), '{"name":"two"}')
      writeFileSync(path.join(root, 'elsewhere', 'index.js'), 'module.exports = 44\n')
      symlinkSync('../elsewhere', path.join(root, 'node_modules', 'two'))
    },
  }
  for (const [what, change] of Object.entries(changes)) {
    change()
    age()
    assert.equal(await isAnew(), true, what)
    assert.equal(await isAnew(), false, `${what}, and then no more`)
  }
  assert.match(await bundle(), /44/)
})

test('what was written a moment ago is not remembered, nor what its settings fetch from elsewhere', async () => {
  writeFileSync(path.join(root, 'one.ts'), 'export const one = 1\n')
  await bundle()
  assert.equal(await isAnew(), true)
  write('tsconfig.json', '{"extends":"./base.json"}')
  write('base.json', '{}')
  await bundle()
  assert.equal(await isAnew(), true)
})

test('a memory that was spoilt is none, and one that cannot be written costs nothing else', async () => {
  const first = await bundle()
  const [code] = readdirSync(path.join(folder, 'cache')).filter((name) => name.endsWith('.mjs'))
  writeFileSync(path.join(folder, 'cache', code as string), readFileSync(path.join(folder, 'cache', code as string), 'utf8').replace('11', '99'))
  assert.equal(await bundle(), first)
  rmSync(path.join(folder, 'cache'), { recursive: true })
  writeFileSync(path.join(folder, 'cache'), '')
  assert.equal(await bundle(), first)
})

test('a fault of the code is told each time', async () => {
  write('one.ts', 'export const one = (\n')
  for (const _ of [1, 2]) await assert.rejects(bundle(), /Build failed/)
})
