import assert from 'node:assert/strict'
import { type it, test } from 'node:test'
import { Table } from './table.ts'

const fine = { absent: null, lacks: {} }

/** A table whose cases run at once, and do not count as tests of their own. */
function open() {
  const running: Promise<void>[] = []
  const run = ((_what: string, { skip }: { skip: string | false }, work: () => Promise<void>) => {
    if (skip === false) running.push(work().catch(() => {}))
    return Promise.resolve()
  }) as unknown as typeof it
  return { table: new Table(run), over: () => Promise.all(running) }
}

test('a case that a runtime does not have is a fault, unless it is another one\u2019s own', () => {
  const { table } = open()
  const one = table.column('one', fine)
  const other = table.column('other', fine)
  one.group('g')('both', async () => {})
  one.group('g')('mine', async () => {})
  one.own('g')('own', async () => {})
  other.group('g')('both', async () => {})
  assert.deepEqual(table.faults, ['other has no case "g: mine"'])
})

test('a reason for a case that there is not is a fault', () => {
  const { table } = open()
  table.column('one', { absent: null, lacks: { 'g: a': 'no', 'g: gone': 'no' } }).group('g')('a', async () => {})
  assert.deepEqual(table.faults, ['one lacks "g: gone", which is no case'])
})

test('cells say what passed, what did not, and why what was left out was', async () => {
  const { table, over } = open()
  const one = table.column('one', { absent: null, lacks: { 'g: c': 'no such thing' } }).group('g')
  one('a', async () => {})
  one('b', () => Promise.reject(new Error('no')))
  one('c', async () => {})
  table.column('two', { absent: 'it is not here', lacks: {} }).group('g')('a', async () => {})
  await over()
  const lines = table.text().split('\n')
  assert.deepEqual(lines.slice(2, 5), ['| g: a | yes | (1) |', '| g: b | NO | - |', '| g: c | (2) | - |'])
  assert.deepEqual(lines.slice(6), ['(1) it is not here', '(2) no such thing'])
})
