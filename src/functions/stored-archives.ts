import type { ProjectRef } from '../core/project.ts'

export interface ObjectPlace {
  readonly bucket: string
  readonly key: string
}

/** Why an object cannot be had. */
export type ObjectFault = 'NoSuchBucket' | 'NoSuchKey' | 'EntityTooLarge'

/** Reads an object of a project's own storage whole. */
export type ReadObject = (project: ProjectRef, place: ObjectPlace, limitBytes: number) => Promise<Buffer | ObjectFault>

/**
 * Archives that lie in buckets. They may be large and are held in memory while they are checked, so one at a time is; the
 * projects take turns, so that one which brings many holds up the others for one of them each.
 */
export class StoredArchives {
  readonly #read: ReadObject
  /** By project, in the order of their turns. */
  readonly #waiting = new Map<ProjectRef, (() => void)[]>()
  #busy = false

  constructor(read: ReadObject) {
    this.#read = read
  }

  async take<T extends object>(project: ProjectRef, place: ObjectPlace, limitBytes: number, use: (zip: Buffer) => Promise<T>): Promise<T | ObjectFault> {
    await this.#turn(project)
    try {
      const zip = await this.#read(project, place, limitBytes)
      return typeof zip === 'string' ? zip : await use(zip)
    } finally {
      this.#next()
    }
  }

  #turn(project: ProjectRef): Promise<void> | null {
    if (!this.#busy) {
      this.#busy = true
      return null
    }
    return new Promise((go) => {
      const own = this.#waiting.get(project)
      if (own) own.push(go)
      else this.#waiting.set(project, [go])
    })
  }

  #next(): void {
    const [first] = this.#waiting
    if (!first) {
      this.#busy = false
      return
    }
    const [project, [go, ...rest]] = first
    this.#waiting.delete(project)
    if (rest.length > 0) this.#waiting.set(project, rest)
    go?.()
  }
}
