import { MayflyError } from '../core/errors.ts'
import type { Clock } from '../lib/clock.ts'
import { openInspector } from './inspector.ts'
import { startedAnewFor } from './loading.ts'
import type { Specialised } from './specialised.ts'
import type { Inspected, SandboxSpec } from './types.ts'

export interface InspectingDeps {
  readonly ready: (spec: SandboxSpec) => Specialised | null
  readonly start: (spec: SandboxSpec) => Promise<void>
  readonly clock: Clock
  readonly closing: AbortSignal
}

/** Lets debuggers into sandboxes: into one of each version at a time. */
export class Inspecting {
  readonly #deps: InspectingDeps
  /** Null while it is being opened. */
  readonly #byKey = new Map<string, Specialised | null>()

  constructor(deps: InspectingDeps) {
    this.#deps = deps
  }

  /** The sandbox that is looked into, of a version. On the path of every call. */
  of(key: string): Specialised | null {
    return this.#byKey.get(key) ?? null
  }

  async open(spec: SandboxSpec, signal: AbortSignal): Promise<Inspected> {
    refuse(spec)
    if (this.#byKey.has(spec.key)) throw new MayflyError('inspected_already', `${spec.context.functionName} is being inspected by another debugger`)
    using stack = new DisposableStack()
    this.#byKey.set(spec.key, null)
    stack.defer(() => this.#byKey.delete(spec.key))
    const sandbox = await this.#begin(spec)
    this.#byKey.set(spec.key, sandbox)
    stack.use(sandbox.inspect())
    try {
      const entrance = await this.#entranceOf(sandbox)
      signal.throwIfAborted()
      const inspector = stack.use(await openInspector(entrance, AbortSignal.any([signal, this.#deps.closing])))
      const held = stack.move()
      inspector.onClose(() => held.dispose())
      return {
        sandboxId: sandbox.id,
        get buffered() {
          return inspector.buffered
        },
        send: (frame) => inspector.send(frame),
        listen: (on) => inspector.listen(on),
        onFrame: (take) => inspector.onFrame(take),
        onClose: (take) => inspector.onClose(take),
        [Symbol.dispose]: () => held.dispose(),
      }
    } finally {
      sandbox.finish()
    }
  }

  /** One that runs, and has no call; the right to one is taken. */
  async #begin(spec: SandboxSpec): Promise<Specialised> {
    for (let tried = 0; tried < 3; tried++) {
      this.#deps.closing.throwIfAborted()
      const ready = this.#deps.ready(spec)
      if (!ready) await this.#deps.start(spec)
      else if (await ready.begin()) return ready
    }
    throw new MayflyError('sandbox_unavailable', 'there is no room for a sandbox that a debugger could look into')
  }

  async #entranceOf(sandbox: Specialised) {
    const { process, spec } = sandbox
    if (!process.entrance) throw notInspectable(spec, 'its sandboxes have no door for a debugger: those of gVisor and of the driver `process` have none')
    const entrance = await process.entrance()
    if (entrance === null) throw new MayflyError('sandbox_unavailable', 'the sandbox ended before a debugger could look into it')
    return entrance
  }
}

function refuse(spec: SandboxSpec): void {
  if (!spec.runtime.startsWith('nodejs')) throw notInspectable(spec, `it runs on ${spec.runtime}, and only Node has an inspector`)
  const anew = startedAnewFor(spec)
  if (anew === 'AWS_LAMBDA_EXEC_WRAPPER') throw notInspectable(spec, `${anew} starts its process by a program of its own`)
  if (anew !== null) throw notInspectable(spec, `${anew} has it run in a second process`)
}

const notInspectable = (spec: SandboxSpec, why: string) =>
  new MayflyError('not_inspectable', `${JSON.stringify(spec.context.functionName)} cannot be inspected: ${why}`)
