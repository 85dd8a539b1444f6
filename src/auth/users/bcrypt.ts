import { once } from 'node:events'
import path from 'node:path'
import { Worker } from 'node:worker_threads'
import { LIMITS } from '../../core/limits.ts'

const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/

/** A hash that another system made: taken, and replaced by one of ours at the next sign-in. */
export function isBcrypt(hash: string | null): hash is string {
  const cost = hash === null ? undefined : BCRYPT.exec(hash)?.[1]
  return cost !== undefined && Number(cost) >= 4 && Number(cost) <= LIMITS.passwordHashCost.value
}

/** In a thread of its own, which ends with it: no user needs it twice. */
export async function fitsBcrypt(password: string, hash: string): Promise<boolean> {
  const worker = new Worker(path.join(import.meta.dirname, 'bcrypt-worker.ts'), { workerData: { password, hash } })
  try {
    const [fits] = await once(worker, 'message')
    return fits === true
  } finally {
    await worker.terminate()
  }
}
