import { existsSync } from 'node:fs'
import path from 'node:path'
import type { Code, HandlerName, LoadFault, Runtime } from '../conformance/runtime.ts'
import { FURTHER_FAULTS, HANDLER_CODE, LOAD_FAULT_CODE } from './conformance-code.ts'

const PYTHON = '/usr/bin/python3'
const EMPTY: Code = { files: {}, handler: 'index.handler' }
const THREADS = 'an error of a thread ends the thread, not the process: the call runs on to its deadline'

export const pythonRuntime: Runtime = {
  command: PYTHON,
  args: ['-sB', path.join(import.meta.dirname, 'bootstrap.py'), '0', '0', process.execPath],
  environment: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/tmp' },
  features: ['relay'],
  calls: 'one',
  adds: ['_HANDLER', 'PWD'],
  lacks: {
    'ends: with an error that nobody caught as the error of every call that runs, and then exiting': THREADS,
    'ends: with a failed task that nobody waited for as the error of every call that runs, and then exiting': THREADS,
    'beginning: says a load error: the ordinary error, `at load`, comes outside of the stack that loads': THREADS,
  },
  absent: existsSync(PYTHON) ? null : 'it needs the package python3',
  errorType: 'Exception',
  uncaught: { errorType: '', exitCode: 0 },
  rejected: { errorType: '', exitCode: 0 },
  handler: (name: HandlerName) => ({ files: { 'index.py': (HANDLER_CODE as Partial<Record<HandlerName, string>>)[name] ?? '' }, handler: 'index.handler' }),
  loadFault: (name: LoadFault) => LOAD_FAULT_CODE[name] ?? EMPTY,
  furtherFaults: FURTHER_FAULTS,
}
