import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Driver, DriverName } from '../types.ts'
import { chooseDriver, type FoundDriver, isDriver, type NoDriver, noDriver, openFound } from './detect.ts'

const NOT: Readonly<Record<string, NoDriver>> = {
  crun: { why: 'crun is not installed', todo: 'Type that.' },
  runc: { why: 'runc takes root', todo: 'Start the node as root.' },
  bwrap: { why: 'bubblewrap is not installed', todo: 'Install bubblewrap' },
  gvisor: { why: 'runsc is not installed', todo: 'Type this.' },
}

/** What is opened, in turn, and what comes of it, on a host that has these. */
async function choose(setting: 'auto' | DriverName, ...has: DriverName[]) {
  const asked: DriverName[] = []
  const found = await chooseDriver(setting, async (name) => {
    asked.push(name)
    return has.includes(name) ? ({ name, start: () => Promise.reject(new Error('no')) } as unknown as Driver) : (NOT[name] as NoDriver)
  })
  return { asked, chosen: isDriver(found) ? found.name : null, found }
}

describe('the driver of a node', () => {
  it('is crun where it can be, and nothing else is tried', async () => {
    const { asked, chosen } = await choose('auto', 'crun', 'runc', 'gvisor', 'bwrap', 'process')
    assert.deepEqual([asked, chosen], [['crun'], 'crun'])
  })
  it('is runc where crun makes no sandbox', async () => {
    const { asked, chosen } = await choose('auto', 'runc', 'gvisor', 'bwrap', 'process')
    assert.deepEqual([asked, chosen], [['crun', 'runc'], 'runc'])
  })
  it('is bubblewrap for an ordinary user, and for a root without runc', async () => {
    assert.equal((await choose('auto', 'gvisor', 'bwrap', 'process')).chosen, 'bwrap')
  })
  it('is none rather than one that isolates nothing, and one sentence says what to do', async () => {
    const { chosen, found } = await choose('auto', 'process', 'gvisor')
    assert.equal(chosen, null)
    assert.equal(
      noDriver(found as NoDriver).message,
      'Functions cannot run: runc takes root, and bubblewrap is not installed. Start the node as root. Install bubblewrap, or, for code of your own only, start it without isolation: `npm start -- --sandbox process`.',
    )
  })
  it('is none where root may make no sandbox, and the sentence says what root needs', async () => {
    const none: typeof NOT = { ...NOT, runc: { why: 'runc makes no sandbox here', todo: 'Leave it away.', todoOfNone: 'Root must be allowed.' } }
    const found = await chooseDriver('auto', async (name) => none[name] as NoDriver)
    assert.match(
      noDriver(found as NoDriver).message,
      /^Functions cannot run: runc makes no sandbox here, and .*\. Root must be allowed\. Install bubblewrap, or, /,
    )
  })
  it('is what is named, or none', async () => {
    for (const name of ['crun', 'runc', 'gvisor', 'bwrap', 'process'] as const) {
      assert.deepEqual((await choose(name, name)).asked, [name])
      if (name === 'process') continue
      const { chosen, found } = await choose(name, 'process')
      assert.deepEqual([chosen, found], [null, NOT[name]])
    }
  })
})

/** What a process of a node asks for, in turn, where these can be opened in it, and what it gets. */
async function openIn(setting: 'auto' | DriverName, found: FoundDriver | undefined, ...has: DriverName[]) {
  const asked: string[] = []
  const got = await openFound(setting, found, async (driver, isTried) => {
    asked.push(isTried ? `${driver}, tried` : driver)
    const { found } = await choose(driver, ...has)
    return found
  })
  return { asked, got: isDriver(got) ? got.name : got }
}

describe('the driver of a worker process', () => {
  it('is that of the main process, which is tried no second time', async () => {
    assert.deepEqual(await openIn('auto', 'bwrap', 'crun', 'bwrap'), { asked: ['bwrap, tried'], got: 'bwrap' })
  })
  it('is what it finds itself where that of the main process cannot be opened in it', async () => {
    assert.deepEqual(await openIn('auto', 'crun', 'runc', 'bwrap'), { asked: ['crun, tried', 'auto'], got: 'runc' })
  })
  it('is what was named or none: no other is taken instead', async () => {
    assert.deepEqual(await openIn('crun', 'crun', 'runc', 'bwrap', 'process'), { asked: ['crun, tried', 'crun'], got: NOT.crun })
  })
  it('is never one that isolates nothing', async () => {
    const { asked, got } = await openIn('auto', 'runc', 'process')
    assert.deepEqual([asked, typeof got], [['runc, tried', 'auto'], 'object'])
  })
  it('is none where the main process found none, and nothing is looked for', async () => {
    assert.deepEqual(await openIn('auto', NOT.crun, 'crun'), { asked: [], got: NOT.crun })
  })
  it('is looked for by who is the first', async () => {
    assert.deepEqual(await openIn('auto', undefined, 'crun'), { asked: ['auto'], got: 'crun' })
  })
})
