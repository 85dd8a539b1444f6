import { promises as fs } from 'node:fs'
import path from 'node:path'
import { writeWhole } from './core/data-directory.ts'
import type { Host } from './host.ts'

/** `run.json` for who finds the node by its folder, and a pointer to it for who looks for the one that runs. */
export async function writeRun(
  stack: AsyncDisposableStack,
  host: Pick<Host, 'stateFolder' | 'owner'>,
  data: string,
  run: { operatorToken: string; [field: string]: unknown },
): Promise<void> {
  const file = path.join(data, 'run.json')
  // The token alone, for programs that read it from a file at each request, as Prometheus does.
  const token = path.join(data, 'operator.token')
  const pointer = path.join(host.stateFolder, `${path.basename(data)}-${process.pid}.json`)
  stack.defer(async () => {
    await fs.rm(file, { force: true })
    await fs.rm(token, { force: true })
    await fs.rm(pointer, { force: true })
  })
  await writeWhole(file, `${JSON.stringify(run)}\n`, 0o600, host.owner)
  await writeWhole(token, `${run.operatorToken}\n`, 0o600, host.owner)
  await makeFolder(host)
  await removeStale(host.stateFolder, data)
  await writeWhole(pointer, `${JSON.stringify({ data })}\n`, 0o600, host.owner)
}

/** What root makes in the home of the user who asked is that user's, each folder of it. */
async function makeFolder({ stateFolder, owner }: Pick<Host, 'stateFolder' | 'owner'>): Promise<void> {
  const first = (await fs.mkdir(stateFolder, { recursive: true, mode: 0o700 })) ?? stateFolder
  if (owner === null) return
  for (let at = stateFolder; at.startsWith(first); at = path.dirname(at)) await fs.lchown(at, owner.uid, owner.gid)
}

/** A node that was killed left its pointer: one to this folder is told from the next start on, one to a folder without a node leads nowhere. */
async function removeStale(folder: string, data: string): Promise<void> {
  for (const name of await fs.readdir(folder)) {
    const file = path.join(folder, name)
    const to = await fs.readFile(file, 'utf8').then(dataOf, () => null)
    if (to === null) continue
    const hasRun = await fs.access(path.join(to, 'run.json')).then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
    )
    // Our own run.json is there already, and this process is the only one that serves this folder.
    if (to === data || !hasRun) await fs.rm(file, { force: true })
  }
}

/** Null for what is no pointer, or is being written. */
function dataOf(text: string): string | null {
  try {
    const { data } = (JSON.parse(text) ?? {}) as { data?: unknown }
    return typeof data === 'string' ? data : null
  } catch {
    return null
  }
}
