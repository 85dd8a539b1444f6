import type { Infer } from './core/settings.ts'
import { authSettings } from './auth/config.ts'
import { dataSettings } from './data/config.ts'
import { doorSettings } from './door/config.ts'
import { npmSettings } from './deployments/config.ts'
import { nodeSettings } from './gateway/config.ts'
import { invokeSettings } from './invoke/config.ts'
import { observeSettings } from './observe/config.ts'
import { queuesSettings } from './queues/config.ts'
import { realtimeSettings } from './realtime/config.ts'
import { egressSettings, sandboxSettings } from './sandbox/config.ts'
import { storageSettings } from './storage/config.ts'
import { usageSettings } from './usage/config.ts'

/** Every room's settings, by section. */
export const SECTIONS = {
  node: nodeSettings,
  sandbox: sandboxSettings,
  egress: egressSettings,
  invoke: invokeSettings,
  observe: observeSettings,
  usage: usageSettings,
  realtime: realtimeSettings,
  auth: authSettings,
  storage: storageSettings,
  queues: queuesSettings,
  data: dataSettings,
  door: doorSettings,
  npm: npmSettings,
}
export type Config = { readonly [K in keyof typeof SECTIONS]: Infer<(typeof SECTIONS)[K]> }
