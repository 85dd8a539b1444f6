import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, describe, it } from 'node:test'
import { WarmBundler } from '../../client/bundler.ts'
import { Stacks } from './stacks.ts'

describe('Stacks', () => {
  const root = mkdtempSync(path.join(tmpdir(), 'mayfly-stacks-'))
  after(() => rmSync(root, { recursive: true, force: true }))
  const entry = path.join(root, 'index.ts')
  const wish = { root, entry, node: '24', hasLayers: false }

  it('leads to the files that were bundled, also after an edit, and leaves the rest as it is', async () => {
    await using bundler = new WarmBundler()
    writeFileSync(path.join(root, 'fault.ts'), '// a line\nexport const fault = (): never => {\n  throw new TypeError("no")\n}\n')
    writeFileSync(entry, "import { fault } from './fault.ts'\n\nexport const handler = async () => fault()\n")
    const stacks = new Stacks()
    const first = await bundler.bundle(wish)
    assert.deepEqual(first.inputs.map((file) => path.basename(file)).toSorted(), ['fault.ts', 'index.ts'])
    stacks.set('one', root, first.code)
    const placeOf = (code: Uint8Array) => {
      const lines = Buffer.from(code).toString().split('\n')
      const line = lines.findIndex((text) => text.includes('throw new TypeError'))
      return `${line + 1}:${(lines[line] ?? '').indexOf('throw') + 1}`
    }
    const shown = path.relative('', path.join(root, 'fault.ts'))
    const stack = ['TypeError: no', `    at fault (file:///var/task/index.mjs:${placeOf(first.code)})`, '    at node:internal/process/task_queues:105:5']
    assert.equal(stacks.stack('one', stack), `TypeError: no\n    at fault (${shown}:3:3)`)
    // Without a sandbox the code lies elsewhere.
    assert.equal(stacks.mapped('one', `/d/sandboxes/slots/x/code/index.mjs:${placeOf(first.code)}`), `${shown}:3:3`)

    writeFileSync(path.join(root, 'fault.ts'), 'export const fault = (): never => {\n  throw new TypeError("no")\n}\n')
    const second = await bundler.bundle(wish)
    stacks.set('one', root, second.code)
    assert.equal(stacks.mapped('one', `/var/task/index.mjs:${placeOf(second.code)}`), `${shown}:2:3`)

    for (const text of ['no place', '/var/task/other.mjs:1:1', '/var/task/index.mjs:999999:1', `/var/task/index.mjs:1:1`])
      assert.ok(!stacks.mapped('one', text).includes('fault.ts'), text)
    assert.equal(stacks.mapped('another', '/var/task/index.mjs:1:1'), '/var/task/index.mjs:1:1')
    stacks.set('none', root, Buffer.from('no map'))
    assert.equal(stacks.mapped('none', '/var/task/index.mjs:1:1'), '/var/task/index.mjs:1:1')
  })

  it('leads to the files of an app that is sent as it lies, and leaves what was installed where it runs', () => {
    mkdirSync(path.join(root, 'src'), { recursive: true })
    writeFileSync(path.join(root, 'src', 'more.js'), 'throw new Error("no")\n')
    const stacks = new Stacks()
    stacks.setFolder('shop-tick', root)
    const shown = path.relative('', path.join(root, 'src', 'more.js'))
    assert.deepEqual(stacks.lines('shop-tick', ['Error: no', '    at handler (/var/task/src/more.js:1:7)', '    at run (/var/task/node_modules/a/b.js:2:3)']), [
      'Error: no',
      `    at handler (${shown}:1:7)`,
      '    at run (/var/task/node_modules/a/b.js:2:3)',
    ])
    assert.equal(stacks.mapped('another', '/var/task/src/more.js:1:7'), '/var/task/src/more.js:1:7')
  })

  it('a fault in the code is told with its place, and the next bundle is right again', async () => {
    await using bundler = new WarmBundler()
    writeFileSync(entry, 'export const handler = (\n')
    await assert.rejects(
      bundler.bundle(wish),
      (error: { errors?: { location: { file: string; line: number } }[] }) => error.errors?.[0]?.location.file === 'index.ts',
    )
    writeFileSync(entry, 'export const handler = () => 1\n')
    assert.ok(
      Buffer.from((await bundler.bundle(wish)).code)
        .toString()
        .includes('=> 1'),
    )
  })
})
