import assert from 'node:assert/strict'
import { after } from 'node:test'
import { nodeRuntime } from '../node/conformance.ts'
import { pythonRuntime } from '../python/conformance.ts'
import { providedRuntime } from '../supervisor/conformance.ts'
import type { Runtime } from './runtime.ts'
import { streamConformance } from './streams.ts'
import { runtimeConformance } from './suite.ts'
import { Table } from './table.ts'

const RUNTIMES: Readonly<Record<string, Runtime>> = {
  'nodejs24.x': nodeRuntime(process.execPath),
  'python3.x': pythonRuntime,
  provided: providedRuntime,
}

const table = new Table()
for (const [name, runtime] of Object.entries(RUNTIMES)) {
  runtimeConformance(name, runtime, table)
  streamConformance(name, runtime)
}
after(() => {
  process.stdout.write(`${table.text()}\n`)
  assert.deepEqual(table.faults, [])
})
