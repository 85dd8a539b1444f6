import assert from 'node:assert/strict'
import { test } from 'node:test'
import { problemsOfAll } from './all-processes.ts'

const problem = (what: string, why: string) => ({ what, why, todo: 'Look at it.' })

test('what does not work in a worker is told as what does not work in the main process, and once where all say it', () => {
  const everywhere = problem('runtime nodejs24.x', 'no such program')
  const there = problem('runtime python3.x', 'no such program')
  const otherwise = problem('runtime nodejs24.x', 'no such folder')
  assert.deepEqual(problemsOfAll([], []), [])
  assert.deepEqual(problemsOfAll([], [{ problems: [] }, { problems: [there] }]), [there])
  assert.deepEqual(problemsOfAll([everywhere], [{ problems: [{ ...everywhere }, there] }, { problems: [otherwise, { ...everywhere }] }]), [
    everywhere,
    there,
    otherwise,
  ])
})
