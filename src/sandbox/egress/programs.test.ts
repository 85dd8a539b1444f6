import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, describe, it } from 'node:test'
import { Launcher } from '../../lib/launcher.ts'
import { run, type Starter } from './programs.ts'

describe('programs that make networks', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'programs-'))
  after(() => rmSync(folder, { recursive: true }))
  /** Ends itself by a signal until it was begun so often. */
  const dying = (signal: string, times: number, name: string) => [
    '-c',
    `echo x >> ${folder}/${name}; test $(wc -l < ${folder}/${name}) -gt ${times} || kill -${signal} $$; cat`,
  ]
  const begun = (name: string) => readFileSync(path.join(folder, name), 'utf8').length / 2

  it('that a signal to all of the node met are begun again, with what they read; not without end', async () => {
    assert.equal(await run('sh', dying('INT', 2, 'twice'), 'words'), 'words')
    assert.equal(begun('twice'), 3)
    await assert.rejects(run('sh', dying('TERM', 9, 'ever')), /SIGTERM/)
    assert.equal(begun('ever'), 3)
  })
  it('that another process starts are told what they read, and what they complain of is told', async () => {
    using launcher = new Launcher({ folder: path.join(folder, 'launcher'), byItself: 0 })
    await launcher.begin()
    const start: Starter = (launch) => launcher.launch(launch)
    const words = 'words\n'.repeat(50_000)
    assert.equal(await run('cat', ['-'], words, start), words)
    assert.equal(await run('sh', dying('INT', 2, 'started'), 'words', start), 'words')
    await assert.rejects(run('sh', ['-c', 'echo no >&2; exit 3'], '', start), /no$/)
  })
  it('that end otherwise are not', async () => {
    await assert.rejects(run('sh', dying('KILL', 9, 'killed')), /SIGKILL/)
    assert.equal(begun('killed'), 1)
    await assert.rejects(run('sh', ['-c', 'echo no >&2; exit 3']), /no$/)
    await assert.rejects(run('sh', ['-c', 'echo half >&2; kill -INT $$']), /half$/)
  })
})
