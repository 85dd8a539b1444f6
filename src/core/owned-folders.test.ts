import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, describe, it } from 'node:test'
import { deadFolders, OWNER_FILE, ownerOf, ownFolder } from './owned-folders.ts'

const base = mkdtempSync(path.join(tmpdir(), 'owned-'))
after(() => rmSync(base, { recursive: true }))
const at = (name: string) => path.join(base, `mayfly-try-${name}`)
const namesOf = async () => (await deadFolders(base, 'mayfly-try-')).map(({ name }) => name).toSorted()

/** Who it was that has ended. */
async function ended(): Promise<string> {
  const child = spawn('sleep', ['60'])
  const owner = await ownerOf(child.pid as number)
  child.kill('SIGKILL')
  await once(child, 'exit')
  return owner
}
function left(name: string, owner: string | null): void {
  mkdirSync(at(name))
  if (owner !== null) writeFileSync(path.join(at(name), OWNER_FILE), owner)
}

describe('run-time folders of processes that have ended', () => {
  it('are found; those of living ones, of other namespaces, of nobody, half written or linked are not', async () => {
    const owner = await ended()
    left('dead', owner)
    await ownFolder(at('own'), 0o700)
    left('nobody', null)
    left('half', owner.slice(0, 5))
    left('foreign', owner.replace(/pid:\[\d+\]/, 'pid:[1]'))
    // The number of a process that lives, which another had before.
    left('again', (await ownerOf(process.pid)).replace(/^(\d+) \d+/, '$1 1'))
    symlinkSync(at('dead'), at('link'))
    assert.deepEqual(await namesOf(), ['again', 'dead'])
  })

  it('are not those of a living process that has more rights than who looks', {
    skip: process.getuid?.() !== 0 && 'only root can give up a right',
  }, async () => {
    const lives = spawn('sleep', ['60'])
    left('rights', await ownerOf(lives.pid as number))
    const look = `import { deadFolders, ownerOf } from '${import.meta.dirname}/owned-folders.ts'
      const names = (await deadFolders('${base}', 'mayfly-try-')).map(({ name }) => name)
      console.log(JSON.stringify({ names, asked: await ownerOf(${lives.pid}) }))`
    const run = () => {
      const fewer = ['--bounding-set=-sys_ptrace', '--inh-caps=-all', process.execPath, '--input-type=module', '-e', look]
      return JSON.parse(execFileSync('setpriv', fewer, { encoding: 'utf8' })) as { names: string[]; asked: string }
    }
    try {
      const { names, asked } = run()
      assert.match(asked, / \+$/, 'it cannot see the namespaces of the other')
      assert.ok(names.includes('dead') && !names.includes('rights') && !names.includes('own'), names.join())
    } finally {
      lives.kill('SIGKILL')
      await once(lives, 'exit')
    }
    assert.ok(run().names.includes('rights'), 'now it has ended')
    rmSync(at('rights'), { recursive: true })
  })

  it('are taken by one alone, and never when somebody has started again by the name', async () => {
    const owner = await ended()
    left('one', owner)
    left('back', owner)
    const found = await deadFolders(base, 'mayfly-try-')
    const one = found.find(({ name }) => name === 'one')
    const back = found.find(({ name }) => name === 'back')
    let taken = 0
    const remove = async () => {
      taken++
      await new Promise((done) => setTimeout(done, 300))
      rmSync(at('one'), { recursive: true })
    }
    await Promise.all([one?.take(remove), one?.take(remove), one?.take(remove, 'wait')])
    assert.equal(taken, 1)
    await ownFolder(at('back'), 0o700)
    await back?.take(async () => assert.fail('it lives again'))
    assert.equal(readFileSync(path.join(at('back'), OWNER_FILE), 'utf8'), await ownerOf(process.pid))
    // Gone, it is not made by who looks at it.
    await one?.take(async () => assert.fail('it is gone'))
    assert.equal(existsSync(at('one')), false)
  })

  it('are waited for by who starts again while another removes them', async () => {
    left('slow', await ended())
    const [slow] = (await deadFolders(base, 'mayfly-try-')).filter(({ name }) => name === 'slow')
    const steps: string[] = []
    let begin = () => {}
    const begun = new Promise<void>((done) => {
      begin = done
    })
    const removing = slow?.take(async () => {
      begin()
      await new Promise((done) => setTimeout(done, 300))
      rmSync(at('slow'), { recursive: true })
      steps.push('removed')
    })
    await begun
    await ownFolder(at('slow'), 0o700, async () => void steps.push('cleared'))
    await removing
    assert.deepEqual(steps, ['removed', 'cleared'])
    assert.deepEqual((await namesOf()).includes('slow'), false)
    assert.ok(existsSync(at('slow')))
  })
})
