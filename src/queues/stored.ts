/** How much is in a queue. */
export interface Amount {
  messages: number
  bytes: number
}

/** What the queues hold, counted as it comes and goes: to look at it reads no queue. It is counted anew when that may have missed something. */
export class Stored {
  readonly #byQueue = new Map<string, Amount>()
  readonly #byProject = new Map<string, number>()
  #isSure = false
  #changes = 0

  /** False where what a statement did is not known, or what was counted was changed meanwhile. */
  get isSure(): boolean {
    return this.#isSure
  }

  doubt(): void {
    this.#isSure = false
  }

  add(queue: { readonly id: string; readonly project: string }, messages: number, bytes: number): void {
    const now = this.#byQueue.get(queue.id) ?? { messages: 0, bytes: 0 }
    this.#byQueue.set(queue.id, { messages: Math.max(0, now.messages + messages), bytes: Math.max(0, now.bytes + bytes) })
    this.#byProject.set(queue.project, Math.max(0, this.bytesOf(queue.project) + bytes))
    this.#changes++
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

  /** @param count  of each queue that is there, and of its project */
  async recount(count: () => Promise<readonly (Amount & { readonly id: string; readonly project: string })[]>): Promise<void> {
    const before = this.#changes
    const counted = await count()
    // What came and went while it was counted is in it or not: this is counted again, later.
    this.#isSure = this.#changes === before
    this.#byQueue.clear()
    this.#byProject.clear()
    for (const { id, project, messages, bytes } of counted) {
      this.#byQueue.set(id, { messages, bytes })
      this.#byProject.set(project, this.bytesOf(project) + bytes)
    }
  }
}
