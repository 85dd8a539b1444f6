import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Driver, DriverName, SandboxProcess, StartOptions } from '../types.ts'
import type { NoDriver } from './detect.ts'
import { SeveralDrivers, type SeveralDriversDeps } from './several.ts'

const NONE: NoDriver = { why: 'runsc is not installed', todo: 'Type `apt-get install runsc`.' }
const options = (driver: DriverName | null) => ({ driver }) as StartOptions

/** Drivers that only write down what was asked of them. */
function world(changes: Partial<SeveralDriversDeps> = {}) {
  const told: string[] = []
  const driver = (name: DriverName): Driver => ({
    name,
    limits: [name],
    missing: [{ what: name, why: 'why', todo: 'todo' }],
    resizesTmp: name === 'runc',
    runs: () => true,
    start: async () => {
      told.push(`start ${name}`)
      return {} as SandboxProcess
    },
    sweep: async () => void told.push(`sweep ${name}`),
    [Symbol.asyncDispose]: async () => void told.push(`end ${name}`),
  })
  const installed = new Set<DriverName>(['bwrap'])
  const several = new SeveralDrivers({
    own: driver('runc'),
    others: ['gvisor', 'bwrap'],
    open: async (name) => {
      told.push(`open ${name}`)
      return installed.has(name) ? driver(name) : NONE
    },
    leftBehind: () => false,
    ...changes,
  })
  return { several, told, installed }
}

test('a sandbox is made by the driver that it asks for, opened once and when it is first needed', async () => {
  const { several, told } = world()
  assert.deepEqual([several.name, several.limits, several.resizesTmp], ['runc', ['runc'], true])
  await several.sweep()
  await several.start(options(null))
  await Promise.all([several.start(options('bwrap')), several.start(options('bwrap'))])
  await several[Symbol.asyncDispose]()
  assert.deepEqual(told, ['sweep runc', 'start runc', 'open bwrap', 'sweep bwrap', 'start bwrap', 'start bwrap', 'end bwrap', 'end runc'])
})

test('one that is not here is refused by its name and with what to do, until it is', async () => {
  const { several, installed } = world()
  assert.equal(await several.refusal('runc'), null)
  assert.equal(await several.refusal('bwrap'), null)
  assert.deepEqual([several.missingOf(null)[0]?.what, several.missingOf('runc')[0]?.what, several.missingOf('bwrap')[0]?.what], ['runc', 'runc', 'bwrap'])
  assert.equal(await several.refusal('gvisor'), 'this node has no driver `gvisor`: runsc is not installed. Type `apt-get install runsc`.')
  await assert.rejects(several.start(options('gvisor')), {
    code: 'sandbox_unavailable',
    message: /^this node has no driver `gvisor`: runsc is not installed\. Type/,
  })
  installed.add('gvisor')
  assert.equal(await several.refusal('gvisor'), null)
})

test('none may be asked for that the operator did not leave open', async () => {
  const { several, told } = world({ others: [] })
  assert.match((await several.refusal('bwrap')) ?? '', /no driver `bwrap`: all functions are kept apart by `runc`, as it was started/)
  await assert.rejects(several.start(options('bwrap')), { code: 'sandbox_unavailable' })
  assert.deepEqual(told, [])
})

test('what a former life left of another driver is swept at the start', async () => {
  const { several, told } = world({ leftBehind: (name) => name === 'bwrap' })
  await several.sweep()
  assert.deepEqual(told, ['sweep runc', 'open bwrap', 'sweep bwrap'])
})
