import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { appFiles, type Framework } from './framework.ts'

const below = mkdtempSync(path.join(tmpdir(), 'mayfly-ignore-'))
after(() => rmSync(below, { recursive: true, force: true }))
let folders = 0

/** The names that are sent of a folder with these files. */
async function sent(framework: Framework, files: Readonly<Record<string, string>>, run: readonly string[] = []): Promise<string[]> {
  const root = path.join(below, String(folders++))
  for (const [name, text] of Object.entries({ 'package.json': '{}', ...files })) {
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true })
    writeFileSync(path.join(root, name), text)
  }
  return [...(await appFiles(root, { framework, run })).keys()].filter((name) => name !== 'package.json').toSorted()
}
const named = (...names: string[]) => Object.fromEntries(names.map((name) => [name, 'x']))

test('what its cloud ignores of an app stays here, in the words of git', async () => {
  const files = named('index.js', 'a.log', 'keep.log', 'notes/a.md', 'notes/keep.md', 'src/notes/b.md', 'src/a.js', 'out/x.js', 'x#1', 'docs/z/y.txt', 'b/temp')
  const rules = ['# of ours', '', '*.log', '!keep.log', '/notes/*', '!/notes/keep.md', 'out/', '\\#never', 'docs/**/y.txt', 'temp/'].join('\r\n')
  const kept = ['b/temp', 'index.js', 'keep.log', 'notes/keep.md', 'src/a.js', 'src/notes/b.md', 'x#1']
  for (const [framework, file] of [
    ['google', '.gcloudignore'],
    ['azure', '.funcignore'],
  ] as const)
    assert.deepEqual(await sent(framework, { ...files, [file]: rules }), kept, framework)
  // Of a folder that is ignored nothing is sent, whatever says otherwise of a file in it.
  assert.deepEqual(await sent('azure', { ...named('out/keep.js', 'a.js'), '.funcignore': 'out/\n!out/keep.js\n' }), ['a.js'])
  // Names are told apart by capitals, as git does here.
  assert.deepEqual(await sent('google', { ...named('A.txt', 'a.txt'), '.gcloudignore': 'a.txt' }), ['A.txt'])
})

test('.gcloudignore includes what git ignores where it says so, and without one that is ignored', async () => {
  const files = { ...named('index.js', 'lib/a.js', 'my.tmp', '.env'), '.gitignore': 'lib\n.env\n#!include:.other\n', '.other': 'index.js\n' }
  assert.deepEqual(await sent('google', files), ['.other', 'index.js', 'my.tmp'])
  assert.deepEqual(await sent('google', { ...files, '.gcloudignore': '.*\n*.tmp\n' }), ['index.js', 'lib/a.js'])
  assert.deepEqual(await sent('google', { ...files, '.gcloudignore': '.*\n#!include:.gitignore\n!my.tmp\n!.env\n' }), ['.env', 'index.js', 'my.tmp'])
  await assert.rejects(sent('google', { ...files, '.gcloudignore': '#!include:.none\n' }), /"#!include:\.none" names no file of the folder/)
  await assert.rejects(sent('google', { ...files, '.gcloudignore': '#!include:../0/package.json\n' }), /names no file of the folder/)
  await assert.rejects(sent('google', { '.gcloudignore': 'package.json\n' }), /has no package\.json that is not ignored/)
  // The other tool reads neither.
  assert.deepEqual(await sent('azure', files), ['.env', '.other', 'index.js', 'lib/a.js', 'my.tmp'])
})

test('some files are never sent, whatever the rules say', async () => {
  const never = named('mayfly.json', 'node_modules/a/index.js', 'src/node_modules/b/index.js', 'local.settings.json', '.npmrc', '.git/config', '.vscode/x.json')
  for (const [framework, file] of [
    ['google', '.gcloudignore'],
    ['azure', '.funcignore'],
  ] as const)
    assert.deepEqual(await sent(framework, { ...never, ...named('.well-known/a.json'), [file]: '!*\n!node_modules\n!.npmrc\n' }), ['.well-known/a.json'])
})

test('sources that a .funcignore leaves out are sent where the node builds from them', async () => {
  const files = {
    ...named('src/index.ts', 'src/a.mts', 'tsconfig.json', 'tests/a.ts', 'notes.md', 'host.json'),
    '.funcignore': '*.ts\n*.mts\ntsconfig.json\ntests/\n*.md\n',
  }
  assert.deepEqual(await sent('azure', files), ['host.json'])
  assert.deepEqual(await sent('azure', files, ['build']), ['host.json', 'src/a.mts', 'src/index.ts', 'tsconfig.json'])
})
