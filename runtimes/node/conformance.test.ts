import path from 'node:path'
import type { Runtime } from '../conformance/runtime.ts'
import { streamConformance } from '../conformance/streams.ts'
import { runtimeConformance } from '../conformance/suite.ts'
import { FURTHER_FAULTS, HANDLER_CODE, LOAD_FAULT_CODE } from './conformance-code.ts'

const nodejs24: Runtime = {
  command: process.execPath,
  args: ['--v8-pool-size=1', '--disable-warning=ExperimentalWarning', path.join(import.meta.dirname, 'bootstrap.mjs'), '0'],
  environment: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/tmp' },
  features: ['fetch', 'relay', 'compile-cache', 'stream'],
  errorType: 'Error',
  uncaught: { errorType: 'Error', exitCode: 129 },
  rejected: { errorType: 'Runtime.UnhandledPromiseRejection', exitCode: 128 },
  handler: (name) => ({ files: { 'index.mjs': HANDLER_CODE[name] }, handler: 'index.handler' }),
  loadFault: (name) => LOAD_FAULT_CODE[name],
  furtherFaults: FURTHER_FAULTS,
}
runtimeConformance('nodejs24.x', nodejs24)
streamConformance('nodejs24.x', nodejs24)
