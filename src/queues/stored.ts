/** How much is in a queue. */
export interface Amount {
  messages: number
  bytes: number
}

/** An amount of one queue of a project. */
export interface Holding extends Readonly<Amount> {
  readonly id: string
  readonly project: string
}

/**
 * What the queues hold, counted as it comes and goes: to look at it reads no queue. It is counted anew when that may have
 * missed something; what comes or goes meanwhile may be in such a count or not, and is rather taken twice, until the next
 * one, than not at all, which no limit would see.
 */
export class Stored {
  readonly #byQueue = new Map<string, Amount>()
  readonly #byProject = new Map<string, number>()
  /** What is being written: counted before it is, so that a limit holds for what comes at once. */
  readonly #sending = new Set<Holding>()
  #isSure = false
  #changes = 0
  /** What came while it is counted; null while it is not. */
  #came: Holding[] | null = null

  /** False where what a statement did is not known, or what was counted was changed meanwhile. */
  get isSure(): boolean {
    return this.#isSure
  }

  doubt(): void {
    this.#isSure = false
    this.#changes++
  }

  /** Before it is written. `over` when it is; it stays counted unless that failed. */
  sending(holding: Holding): { over(isStored: boolean): void } {
    this.#sending.add(holding)
    this.#put(holding)
    return {
      over: (isStored) => {
        this.#sending.delete(holding)
        this.#changes++
        if (isStored) this.#came?.push(holding)
        else this.#put({ ...holding, messages: -holding.messages, bytes: -holding.bytes })
      },
    }
  }

  add({ id, project }: Pick<Holding, 'id' | 'project'>, messages: number, bytes: number): void {
    const holding = { id, project, messages, bytes }
    this.#put(holding)
    this.#changes++
    if (bytes > 0) this.#came?.push(holding)
  }

  of(queueId: string): Readonly<Amount> {
    return this.#byQueue.get(queueId) ?? { messages: 0, bytes: 0 }
  }

  bytesOf(project: string): number {
    return this.#byProject.get(project) ?? 0
  }

  forget(queueId: string): void {
    this.#byQueue.delete(queueId)
  }

  forgetProject(project: string): void {
    this.#byProject.delete(project)
  }

  /** @param count  of each queue that is there */
  async recount(count: () => Promise<readonly Holding[]>): Promise<void> {
    const before = this.#changes
    const came: Holding[] = []
    this.#came = came
    const counted = await count().finally(() => {
      this.#came = null
    })
    this.#isSure = this.#changes === before && this.#sending.size === 0
    this.#byQueue.clear()
    this.#byProject.clear()
    for (const holding of [...counted, ...came, ...this.#sending]) this.#put(holding)
  }

  #put({ id, project, messages, bytes }: Holding): void {
    const now = this.of(id)
    this.#byQueue.set(id, { messages: Math.max(0, now.messages + messages), bytes: Math.max(0, now.bytes + bytes) })
    this.#byProject.set(project, Math.max(0, this.bytesOf(project) + bytes))
  }
}
