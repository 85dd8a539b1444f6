import assert from 'node:assert/strict'
import path from 'node:path'
import { describe, it } from 'node:test'

const { withoutUnused } = (await import(path.join(import.meta.dirname, 'install.mjs'))) as { withoutUnused: (names: readonly string[]) => string[] }
const inPackage = (name: string, files: readonly string[]) => files.map((file) => `node_modules/${name}/${file}`)

describe('what is installed for an app', () => {
  const read = ['index.js', 'README.md', 'LICENSE.md', 'prompts/first.md', 'data.map', 'model.d.json', 'source.ts', 'style.css.map']
  const unused = ['index.d.ts', 'index.d.mts', 'old.d.cts', 'index.js.map', 'index.mjs.map', 'index.d.ts.map']

  it('has all that a package may read as it runs, and no declarations and maps', () => {
    assert.deepEqual(withoutUnused(inPackage('greet', [...read, ...unused])), inPackage('greet', read))
    assert.deepEqual(withoutUnused(inPackage('typescript-greet', unused)), [])
  })

  it('has them where a compiler is among it', () => {
    for (const compiler of ['typescript', '@ts-morph/common', 'greet/node_modules/typescript']) {
      const names = [...inPackage('greet', unused), ...inPackage(compiler, ['lib/typescript.js', 'lib/lib.es5.d.ts'])]
      assert.deepEqual(withoutUnused(names), names)
    }
  })
})
