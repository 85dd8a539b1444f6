import { constants, promises as fs } from 'node:fs'
import path from 'node:path'
import { LIMITS } from '../core/limits.ts'
import { MiB } from '../lib/bytes.ts'

/** Node writes one folder per build of itself with files in it; nothing of it lies deeper than this. */
const MAX_DEPTH = 3
const CHUNK_BYTES = 1 * MiB

/** What a build sandbox left is no compile cache that a node may keep. */
export class CacheRefused extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'CacheRefused'
  }
}

/**
 * Copies what a build sandbox left in its cache folder to a folder of the node's own: readable by all, writable by
 * none who runs user code. User code may have written there whatever it liked, so anything but plain files and
 * folders within the limits is refused whole.
 *
 * @param from  the folder, opened before user code ran. Everything that could change it must be dead
 * @throws CacheRefused; `to` then holds a part
 */
export async function copyCache(from: fs.FileHandle, to: string): Promise<void> {
  const left = { files: LIMITS.compileCacheFiles.value as number, bytes: LIMITS.compileCache.value as number }
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  const copyFile = async (source: string, target: string) => {
    await using input = await fs.open(source, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const found = await input.stat()
    if (!found.isFile()) throw new CacheRefused('it holds something else than files')
    // A hole in a file takes no room until it is copied, and a second name for a file none at all.
    left.bytes -= found.size
    if (left.bytes < 0) throw new CacheRefused(`it has more than ${LIMITS.compileCache.value} bytes`)
    await using output = await fs.open(target, 'wx', 0o444)
    for (let at = 0; at < found.size; ) {
      const { bytesRead } = await input.read(buffer, 0, Math.min(CHUNK_BYTES, found.size - at), at)
      if (bytesRead === 0) break
      await output.write(buffer, 0, bytesRead)
      at += bytesRead
    }
  }
  const copyFolder = async (source: string, target: string, depth: number) => {
    if (depth > MAX_DEPTH) throw new CacheRefused(`it has folders more than ${MAX_DEPTH} deep`)
    await fs.mkdir(target, { mode: 0o755 })
    for (const entry of await fs.readdir(source, { withFileTypes: true })) {
      if (--left.files < 0) throw new CacheRefused(`it has more than ${LIMITS.compileCacheFiles.value} files`)
      const [inner, copy] = [path.join(source, entry.name), path.join(target, entry.name)]
      if (entry.isDirectory()) await copyFolder(inner, copy, depth + 1)
      else if (entry.isFile()) await copyFile(inner, copy)
      else throw new CacheRefused('it holds something else than files')
    }
  }
  await copyFolder(`/proc/self/fd/${from.fd}`, to, 0)
}
