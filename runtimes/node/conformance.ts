import type { Runtime } from '../conformance/runtime.ts'
import { shipped } from '../conformance/shipped.ts'
import { FURTHER_FAULTS, HANDLER_CODE, LOAD_FAULT_CODE } from './conformance-code.ts'

/** @param command  a Node of the runtime's version; null where there is none, for `absent` */
export const nodeRuntime = (command: string | null, absent: string | null = null): Runtime => ({
  command: command ?? process.execPath,
  args: [
    '--v8-pool-size=1',
    '--max-semi-space-size=16',
    '--max-old-space-size=10240',
    '--disable-warning=ExperimentalWarning',
    shipped('node/bootstrap.mjs'),
    '0',
  ],
  environment: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/tmp' },
  features: ['fetch', 'relay', 'compile-cache', 'stream', 'ahead'],
  calls: 'many',
  adds: [],
  lacks: {},
  absent,
  errorType: 'Error',
  uncaught: { errorType: 'Error', exitCode: 129 },
  rejected: { errorType: 'Runtime.UnhandledPromiseRejection', exitCode: 128 },
  handler: (name) => ({ files: { 'index.mjs': HANDLER_CODE[name] }, handler: 'index.handler' }),
  loadFault: (name) => LOAD_FAULT_CODE[name],
  furtherFaults: FURTHER_FAULTS,
})
