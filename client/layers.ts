import { createHash } from 'node:crypto'
import { promises as fs } from 'node:fs'
import path from 'node:path'
import yazl from 'yazl'
import type { Client, LayerInfo } from './client.ts'
import { FolderError } from './mayfly-json.ts'

export interface PackedLayer {
  readonly zip: Buffer
  readonly sha256: string
}

/** A zip as it is, or a folder with its files, programs and links, the same for the same content. @throws FolderError */
export async function packLayer(from: string): Promise<PackedLayer> {
  const stat = await fs.stat(from).catch(() => null)
  if (!stat) throw new FolderError(`${from} is neither a folder nor a zip archive.`)
  const zip = stat.isDirectory() ? await zipFolder(path.resolve(from)) : await fs.readFile(from)
  return { zip, sha256: createHash('sha256').update(zip).digest('hex') }
}

/** Sends what the node has not, and makes it the next version. @throws ApiError */
export async function publishLayer(client: Client, project: string, name: string, packed: PackedLayer, description: string): Promise<LayerInfo> {
  if (!(await client.hasArtefact(project, packed.sha256))) await client.putArtefact(project, packed.sha256, packed.zip)
  return await client.publishLayer(project, name, { artefact: packed.sha256, description })
}

async function zipFolder(root: string): Promise<Buffer> {
  const entries = await fs.readdir(root, { recursive: true, withFileTypes: true })
  const found = entries
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => ({ link: entry.isSymbolicLink(), file: path.join(entry.parentPath, entry.name) }))
    .toSorted((one, other) => (one.file < other.file ? -1 : 1))
  if (found.length === 0) throw new FolderError(`${root} holds no file.`)
  const zip = new yazl.ZipFile()
  for (const { link, file } of found) {
    const mode = link ? 0o120777 : (await fs.stat(file)).mode & 0o111 ? 0o100755 : 0o100644
    const options = { mtime: new Date(Date.UTC(1980, 0, 2)), forceDosTimestamp: true, mode }
    zip.addBuffer(link ? Buffer.from(await fs.readlink(file)) : await fs.readFile(file), path.relative(root, file), options)
  }
  zip.end()
  return Buffer.concat((await Array.fromAsync(zip.outputStream)) as Buffer[])
}
