import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'

export interface BodyBounds {
  readonly node: number
  readonly project: number
}

/** Requests of which nobody knows yet whose they are have one share together. */
const NOBODY = ''
const BOUNDS: BodyBounds = { node: LIMITS.heldBodies.value, project: LIMITS.heldBodiesOfProject.value }

/**
 * The bytes of request bodies that are held whole in memory, from when they come until their reply is written: of one
 * project, and of all. What is declared counts for nothing, so that nobody takes room by a number.
 */
export class BodyBudget {
  readonly #bounds: BodyBounds
  readonly #byProject = new Map<string, number>()
  #all = 0

  constructor(bounds: BodyBounds = BOUNDS) {
    this.#bounds = bounds
  }

  get bytes(): number {
    return this.#all
  }

  /** For one request, until it is disposed. */
  open(): HeldBody {
    return new HeldBody(this.#book)
  }

  readonly #book: Book = {
    check: (project, more) => {
      const { node, project: most } = this.#bounds
      if (this.#all + more > node)
        throw new MayflyError('node_busy', `the bodies of requests that are being served take ${this.#all} bytes; ${node} is the limit of the node`)
      const own = this.#byProject.get(project) ?? 0
      if (own + more > most)
        throw new MayflyError('too_many_bytes', `the bodies of requests of the project that are being served take ${own} bytes; ${most} is the limit`)
    },
    add: (project, more) => {
      this.#all += more
      const left = (this.#byProject.get(project) ?? 0) + more
      if (left === 0) this.#byProject.delete(project)
      else this.#byProject.set(project, left)
    },
  }
}

interface Book {
  readonly check: (project: string, more: number) => void
  readonly add: (project: string, more: number) => void
}

export class HeldBody implements Disposable {
  readonly #book: Book
  #project = NOBODY
  #bytes = 0

  constructor(book: Book) {
    this.#book = book
  }

  /** Now it is known whose request it is. */
  belongsTo(project: string): void {
    if (this.#bytes > 0) {
      this.#book.add(this.#project, -this.#bytes)
      this.#book.add(project, this.#bytes)
    }
    this.#project = project
  }

  /** So many bytes more have come. @throws MayflyError too_many_bytes, node_busy: then they are not held */
  hold(bytes: number): void {
    this.#book.check(this.#project, bytes)
    this.#bytes += bytes
    this.#book.add(this.#project, bytes)
  }

  [Symbol.dispose](): void {
    if (this.#bytes > 0) this.#book.add(this.#project, -this.#bytes)
    this.#bytes = 0
  }
}
