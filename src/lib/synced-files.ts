import { type FileHandle, mkdir, open } from 'node:fs/promises'
import path from 'node:path'

/** The names in a folder are on disk for good when it resolves. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes a folder; its own name is then on disk for good too. */
export async function makeFolder(folder: string, mode: number): Promise<void> {
  if ((await mkdir(folder, { recursive: true, mode })) !== undefined) await syncFolder(path.dirname(folder))
}

/** A file that was not there, of mode 0600; its bytes are on disk for good when it resolves, its name once its folder is synced. */
export async function writeSynced(file: string, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
  const handle = await open(file, 'wx', 0o600)
  try {
    for await (const chunk of chunks) await writeAll(handle, chunk)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length; ) at += (await handle.write(chunk, at, chunk.length - at)).bytesWritten
}
