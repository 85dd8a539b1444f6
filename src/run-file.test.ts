import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { writeRun } from './run-file.ts'

test('a start removes the pointers that killed nodes left, and no other', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'run-file-'))
  try {
    const [data, other, emptied] = ['data', 'other', 'emptied'].map((name) => path.join(folder, name)) as [string, string, string]
    const stateFolder = path.join(folder, 'state', 'nodes')
    for (const made of [data, other, emptied, stateFolder]) mkdirSync(made, { recursive: true })
    writeFileSync(path.join(other, 'run.json'), '{}')
    const pointers: Record<string, string> = {
      'data-1.json': JSON.stringify({ data }),
      'other-2.json': JSON.stringify({ data: other }),
      'emptied-3.json': JSON.stringify({ data: emptied }),
      'removed-4.json': JSON.stringify({ data: path.join(folder, 'nowhere') }),
      'half-5.json': '{"data":',
      'odd-6.json': '{"data":7}',
      'none-7.json': 'null',
    }
    for (const [name, text] of Object.entries(pointers)) writeFileSync(path.join(stateFolder, name), text)
    const own = `data-${process.pid}.json`
    {
      await using stack = new AsyncDisposableStack()
      await writeRun(stack, { stateFolder, owner: null }, data, { operatorToken: 'secret' })
      assert.deepEqual(readdirSync(stateFolder).toSorted(), [own, 'half-5.json', 'none-7.json', 'odd-6.json', 'other-2.json'].toSorted())
      assert(existsSync(path.join(data, 'run.json')))
    }
    assert.deepEqual([existsSync(path.join(stateFolder, own)), existsSync(path.join(data, 'run.json'))], [false, false])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('folders that root makes for somebody are theirs, each of them', { skip: process.getuid?.() === 0 ? false : 'gives folders away' }, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'run-file-'))
  try {
    const [data, local] = [path.join(folder, 'data'), path.join(folder, '.local')]
    mkdirSync(data)
    await using stack = new AsyncDisposableStack()
    await writeRun(stack, { stateFolder: path.join(local, 'state', 'nodes'), owner: { uid: 4711, gid: 4712 } }, data, { operatorToken: 'secret' })
    for (const at of [local, path.join(local, 'state'), path.join(local, 'state', 'nodes')]) assert.equal(statSync(at).uid, 4711, at)
    assert.equal(statSync(folder).uid, 0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
