import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Socket, Upgrade, UpgradeContext } from '../core/route.ts'
import type { Functions } from '../functions/index.ts'
import type { Clock } from '../lib/clock.ts'
import { type Inspected, LoadError, type Sandboxes } from '../sandbox/index.ts'
import type { Specs } from './specs.ts'

export interface InspectDeps {
  readonly functions: Pick<Functions, 'resolve'>
  readonly sandboxes: Pick<Sandboxes, 'inspect'>
  readonly specs: Pick<Specs, 'of'>
  readonly clock: Clock
  readonly log: Log
}

const OVER = 1001
const TOO_MUCH = 1013
/** Past it the sandbox is not heard until the debugger has taken what waits. */
const ENOUGH_BYTES = 1024 * 1024
const LOOK_MS = 20

/** Where a debugger comes to a sandbox. It may read all that the function knows, its secrets too: so it takes the key of who may change its code. */
export function inspectUpgrades(deps: InspectDeps): Upgrade[] {
  const admitted = new WeakMap<UpgradeContext, Inspected>()
  return [
    {
      path: '/inspect/v1/websocket',
      access: 'manage',
      atHome: true,
      doc: 'The Chrome DevTools Protocol of Node in a sandbox of `?function=` (`&qualifier=`), until either side leaves or an hour is over; `mayfly inspect` is its client.',
      frameBytes: LIMITS.inspectFrame.value,
      admit: async (context) => {
        admitted.set(context, await open(deps, context))
      },
      accept: (context, socket) => join(deps, context, admitted.get(context) as Inspected, socket),
    },
  ]
}

async function open({ functions, sandboxes, specs, log }: InspectDeps, { project, query, closed }: UpgradeContext): Promise<Inspected> {
  const name = query.get('function')
  if (name === null || name === '') throw new MayflyError('bad_request', '`function` names none')
  const version = await functions.resolve(project.ref, name, query.get('qualifier'))
  try {
    const inspected = await sandboxes.inspect(specs.of(version), closed)
    // A client that leaves before the handshake too.
    if (closed.aborted) inspected[Symbol.dispose]()
    else closed.addEventListener('abort', () => inspected[Symbol.dispose]())
    log.info({ audit: true, project: project.ref, function: name, sandbox: inspected.sandboxId }, 'a debugger looks into a sandbox')
    return inspected
  } catch (error) {
    if (error instanceof LoadError) throw new MayflyError('not_inspectable', `${JSON.stringify(name)} does not load: ${error.errorMessage}`, { cause: error })
    throw error
  }
}

function join({ clock }: InspectDeps, { closed }: UpgradeContext, inspected: Inspected, socket: Socket): void {
  const most = clock.timer(LIMITS.inspectTime.value, () => socket.close(OVER, 'the time of a debugger is over; attach it again'))
  let pause: Disposable | null = null
  const resume = () => {
    pause = null
    if (closed.aborted) return
    if (socket.buffered > ENOUGH_BYTES) pause = clock.timer(LOOK_MS, resume)
    else inspected.listen(true)
  }
  closed.addEventListener('abort', () => {
    most[Symbol.dispose]()
    pause?.[Symbol.dispose]()
  })
  inspected.onClose(() => socket.close(OVER, 'the sandbox is over; attach again for the next'))
  inspected.onFrame((frame) => {
    socket.send(frame)
    if (socket.buffered <= ENOUGH_BYTES || pause !== null) return
    inspected.listen(false)
    pause = clock.timer(LOOK_MS, resume)
  })
  socket.onFrame((frame) => {
    if (inspected.buffered + frame.length > LIMITS.inspectFrame.value) socket.close(TOO_MUCH, 'the sandbox does not take what was sent')
    else inspected.send(String(frame))
  })
}
