import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { findGuests, sandboxRuntime } from './guests.ts'

test('what is not installed is refused with the command that installs it', async () => {
  const empty = mkdtempSync(path.join(tmpdir(), 'guests-'))
  try {
    const guests = await findGuests(empty)
    assert.equal(guests.refusal('nodejs24.x'), null)
    assert.equal(guests.refusal('provided.al2023'), null)
    assert.equal(guests.refusal('nodejs22.x'), 'nodejs22.x is not installed on this node: run `npm run setup -- --runtime nodejs22.x`')
    assert.equal(guests.of('nodejs26.x'), null)
    assert.match(String(guests.refusal('python3.0')), /python3\.\d+, the python3 of its system, and not python3\.0|apt-get install python3/)
  } finally {
    rmSync(empty, { recursive: true })
  }
})

test('a Python that is installed later is found without a restart, under its own version alone', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'guests-'))
  try {
    const program = path.join(folder, 'python3')
    const guests = await findGuests(folder, undefined, program)
    assert.equal(guests.refusal('python3.11'), 'python3.11 is not installed on this node: install python3 (`apt-get install python3`)')
    assert.equal(guests.of('python3.x'), null)
    symlinkSync('python3.11', program)
    assert.match(String(guests.refusal('python3.11')), /apt-get install python3/, 'a link to nothing is none')
    writeFileSync(path.join(folder, 'python3.11'), '')
    assert.equal(guests.refusal('python3.11'), null)
    assert.notEqual(guests.of('python3.x'), null)
    assert.match(String(guests.refusal('python3.12')), /^this node has python3\.11, .* name python3\.11/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('several names have one runtime', () => {
  assert.deepEqual(['provided', 'provided.al2', 'provided.al2023', 'python3.9', 'python3.15', 'nodejs22.x'].map(sandboxRuntime), [
    'provided',
    'provided',
    'provided',
    'python3.x',
    'python3.x',
    'nodejs22.x',
  ])
})
