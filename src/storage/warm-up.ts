import type { Blobs } from '../backends/blobs/blobs.ts'
import type { Objects } from './objects.ts'
import type { Caller } from './sessions.ts'

export interface WarmUpDeps {
  readonly objects: Objects
  readonly blobs: Blobs
}

/** No bucket has this name: a name has one character at least. */
const NOWHERE = { bucket: '', key: '' }
/** A folder beside those of projects, whose ids are longer. */
const PLACE = 'warm-up'
const TIMES = 4
const AT_ONCE = 3

/**
 * Goes the way of a read and of a write before somebody waits for it: what runs for the first time takes several times as
 * long. Nothing of a user's is read or written. It may fail: what is amiss shows when somebody asks.
 */
export async function warmUp({ objects, blobs }: WarmUpDeps, caller: Caller, signal: AbortSignal): Promise<void> {
  const read = async () => {
    await objects.find(caller, NOWHERE, 'storage.object.get_authenticated').catch(() => null)
    await objects.findPublic(caller.project.ref, NOWHERE).catch(() => null)
  }
  const write = async () => {
    const { name } = await blobs.put(PLACE, bytes())
    const blob = await blobs.open(PLACE, name)
    if (blob) await Array.fromAsync(blob.read())
    await blobs.delete(PLACE, [name])
  }
  try {
    for (let times = 0; times < TIMES && !signal.aborted; times++)
      await Promise.all(Array.from({ length: AT_ONCE }, async () => await Promise.allSettled([read(), write()])))
  } finally {
    await blobs.drop(PLACE)
  }
}

async function* bytes(): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(1024)
}
