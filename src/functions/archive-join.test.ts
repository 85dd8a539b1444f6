import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import yazl from 'yazl'
import { readArchive, unpackArchive } from './archive.ts'
import { joinArchives } from './archive-join.ts'

async function zipOf(files: Readonly<Record<string, { text: string; mode?: number; compress?: boolean }>>): Promise<Buffer> {
  const zip = new yazl.ZipFile()
  for (const [name, { text, mode = 0o100644, compress = true }] of Object.entries(files)) zip.addBuffer(Buffer.from(text), name, { mode, compress })
  zip.end()
  const chunks: Buffer[] = []
  for await (const chunk of zip.outputStream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

test('joins archives into one that unpacks to the files of both', async () => {
  const app = await readArchive(await zipOf({ 'index.js': { text: 'x'.repeat(5000) }, 'src/어.js': { text: 'y', compress: false } }))
  const more = await readArchive(await zipOf({ 'node_modules/a/run': { text: '#!', mode: 0o100755 } }))
  const joined = joinArchives([app, more])
  assert.deepEqual(joinArchives([app, more]), joined)
  const folder = await mkdtemp(join(tmpdir(), 'mayfly-join-'))
  try {
    await unpackArchive(await readArchive(joined), folder)
    assert.equal(await readFile(join(folder, 'index.js'), 'utf8'), 'x'.repeat(5000))
    assert.equal(await readFile(join(folder, 'src/어.js'), 'utf8'), 'y')
    assert.equal((await stat(join(folder, 'node_modules/a/run'))).mode & 0o777, 0o555)
    assert.equal((await stat(join(folder, 'index.js'))).mode & 0o777, 0o444)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('refuses archives that have a name in common', async () => {
  const one = await readArchive(await zipOf({ 'node_modules/a/index.js': { text: '1' } }))
  assert.throws(() => joinArchives([one, one]), { code: 'zip_invalid' })
})
