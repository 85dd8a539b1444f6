import type { LoadError, SandboxSpec } from './types.ts'

interface Coming<Sandbox> {
  readonly made: Promise<Sandbox | null>
  left: number
}

/** Sandboxes that are on their way for one call and can take more: who comes meanwhile waits for one of them, instead of having another made. */
export class Joining<Sandbox> {
  readonly #coming = new Map<SandboxSpec, Coming<Sandbox>[]>()

  /**
   * A place in one that is on its way, null in the end where nothing became of it; null at once where no place is left.
   * @throws what the code threw when it was loaded
   */
  join(spec: SandboxSpec): Promise<Sandbox | null> | null {
    const coming = this.#coming.get(spec)?.find(({ left }) => left > 0)
    if (!coming) return null
    coming.left--
    return coming.made
  }

  /** One is on its way that takes so many calls beside its first, until this is disposed or it is there. */
  comes(spec: SandboxSpec, places: number): Disposable & { made(sandbox: Sandbox): void; failed(error: LoadError): void } {
    const { promise, resolve, reject } = Promise.withResolvers<Sandbox | null>()
    const coming: Coming<Sandbox> = { made: promise, left: places }
    promise.catch(() => {})
    const all = this.#coming.get(spec) ?? []
    this.#coming.set(spec, all)
    all.push(coming)
    const leave = () => {
      const at = all.indexOf(coming)
      if (at !== -1) all.splice(at, 1)
      if (all.length === 0 && this.#coming.get(spec) === all) this.#coming.delete(spec)
    }
    return {
      made: (sandbox) => {
        leave()
        resolve(sandbox)
      },
      failed: (error) => {
        leave()
        reject(error)
      },
      [Symbol.dispose]: () => {
        leave()
        resolve(null)
      },
    }
  }
}
