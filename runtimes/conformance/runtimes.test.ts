import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { after } from 'node:test'
import { nodeRuntime } from '../node/conformance.ts'
import { pythonRuntime } from '../python/conformance.ts'
import { providedRuntime } from '../supervisor/conformance.ts'
import type { Runtime } from './runtime.ts'
import { streamConformance } from './streams.ts'
import { runtimeConformance } from './suite.ts'
import { Table } from './table.ts'

/** A Node beside the one that runs this, if it was installed. */
function furtherNode(major: number): Runtime {
  const tools = path.join(import.meta.dirname, '..', '..', 'tools')
  const file = path.join(tools, `node${major}`, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node')
  return existsSync(file) ? nodeRuntime(file) : nodeRuntime(null, `it needs \`npm run setup -- --runtime nodejs${major}.x\``)
}

const RUNTIMES: Readonly<Record<string, Runtime>> = {
  'nodejs24.x': nodeRuntime(process.execPath),
  'nodejs22.x': furtherNode(22),
  'nodejs26.x': furtherNode(26),
  'python3.x': pythonRuntime,
  provided: providedRuntime,
}

const table = new Table()
for (const [name, runtime] of Object.entries(RUNTIMES)) {
  const column = table.column(name, runtime)
  runtimeConformance(name, runtime, column)
  streamConformance(name, runtime, column)
}
after(() => {
  process.stdout.write(`${table.text()}\n`)
  assert.deepEqual(table.faults, [])
})
