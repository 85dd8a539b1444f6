import type { ProjectRef } from '../core/project.ts'

export interface ObjectPlace {
  readonly bucket: string
  readonly key: string
}

/** Why an object cannot be had. */
export type ObjectFault = 'NoSuchBucket' | 'NoSuchKey' | 'EntityTooLarge'

/** Reads an object of a project's own storage whole. */
export type ReadObject = (project: ProjectRef, place: ObjectPlace, limitBytes: number) => Promise<Buffer | ObjectFault>

/** Archives that lie in buckets. They may be large and are held in memory while they are checked, so one at a time is. */
export class StoredArchives {
  readonly #read: ReadObject
  #last: Promise<unknown> = Promise.resolve()

  constructor(read: ReadObject) {
    this.#read = read
  }

  async take<T extends object>(project: ProjectRef, place: ObjectPlace, limitBytes: number, use: (zip: Buffer) => Promise<T>): Promise<T | ObjectFault> {
    const mine = this.#last.then(async () => {
      const zip = await this.#read(project, place, limitBytes)
      return typeof zip === 'string' ? zip : await use(zip)
    })
    this.#last = mine.catch(() => {})
    return await mine
  }
}
