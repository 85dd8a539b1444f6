import { isIP } from 'node:net'
import { count, type Infer, list, megabytes, milliseconds, oneOf } from '../core/settings.ts'

export const sandboxSettings = {
  sandbox: oneOf(['auto', 'crun', 'runc', 'gvisor', 'bwrap', 'process'], {
    default: 'auto',
    doc: 'How a function is kept apart from its neighbours. `auto` takes `crun` for root, or `runc` where that makes no sandbox, and `bwrap` (bubblewrap) for ordinary users; `gvisor` is taken by name. `process` keeps nothing apart and is never chosen by `auto`.',
  }),
  poolSize: count({
    default: 2,
    min: 0,
    max: 1_000,
    of: 'sandboxes',
    doc: 'How many generic sandboxes wait booted for a function, however few are asked for; 0 keeps none.',
  }),
  poolMost: count({
    default: 16,
    min: 0,
    max: 1_000,
    of: 'sandboxes',
    doc: 'How many of one runtime wait at most, where cold calls come often and there is memory.',
  }),
  readyMost: count({
    default: 8,
    min: 0,
    max: 1_000,
    of: 'sandboxes',
    doc: 'How many sandboxes of one function are loaded ahead of its calls at most, where these come often and find none ready; of `reuse: never` one in any case.',
  }),
  refills: count({ default: 2, min: 1, max: 64, of: 'sandboxes', doc: 'How many generic sandboxes are started at once.' }),
  starts: count({
    default: 4,
    min: 1,
    max: 256,
    of: 'sandboxes',
    doc: 'How many sandboxes are started at once for calls that found none; further calls wait their turn, or for one of their version to become free.',
  }),
  freezeMs: milliseconds({ default: 50, min: 0, max: 60_000, doc: 'How long an idle sandbox waits before it is frozen.' }),
  idleMs: milliseconds({ default: 600_000, min: 1_000, max: 86_400_000, doc: 'How long an idle sandbox is kept for its next call.' }),
  memoryMb: megabytes({ default: 0, min: 0, max: 100_000_000, doc: 'How much memory sandboxes may take together; 0 means three quarters of the machine.' }),
}
export type SandboxConfig = Infer<typeof sandboxSettings>

export const egressSettings = {
  dns: list({
    doc: 'Who resolves names for functions: IP addresses, with a port behind a `#` if it is not 53; those of /etc/resolv.conf when there are none.',
    takes: 'IP addresses separated by commas, such as 1.1.1.1 or 127.0.0.1#5353',
    each: (server) => /^[^#]+(#\d{1,5})?$/.test(server) && isIP(server.split('#')[0] ?? '') !== 0,
  }),
}
