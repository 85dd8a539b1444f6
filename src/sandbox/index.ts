export { detectDriver, type FoundDriver, isDriver, type NoDriver, openFound } from './drivers/detect.ts'
export { removeLeftBehind, sandboxFolder } from './drivers/left-behind.ts'
export { SeveralDrivers } from './drivers/several.ts'
export { findGuests, type Guests, RUNTIMES, sandboxRuntime } from './guests.ts'
export { tryRuntimes } from './try-boot.ts'
export { readMachineMemory } from './pressure.ts'
export { WorkingElsewhere } from './working-elsewhere.ts'
export { leasedMemory, MemoryLender, type MemorySource } from './memory-leases.ts'
export { openSandboxes, sandboxMemoryMb } from './open.ts'
export {
  type Call,
  type CallContext,
  type CallEnd,
  type CallResult,
  type ColdReason,
  type Driver,
  type DriverName,
  type HandlerKind,
  type Inspected,
  LoadError,
  type LogSink,
  type Problem,
  type ProvisionedState,
  type RelayIdentity,
  type RuntimeName,
  type Sandboxes,
  type SandboxLease,
  type SandboxSpec,
  type SandboxStatus,
  type Shares,
  type VersionContext,
} from './types.ts'
