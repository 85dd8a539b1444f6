import { promises as fs } from 'node:fs'
import path from 'node:path'
import { writeWhole } from './core/data-directory.ts'
import type { Host } from './host.ts'

/** `run.json` for who finds the node by its folder, and a pointer to it for who looks for the one that runs. */
export async function writeRun(stack: AsyncDisposableStack, host: Host, data: string, run: { operatorToken: string; [field: string]: unknown }): Promise<void> {
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
  await fs.mkdir(host.stateFolder, { recursive: true, mode: 0o700 })
  if (host.owner) await fs.chown(host.stateFolder, host.owner.uid, host.owner.gid)
  await writeWhole(pointer, `${JSON.stringify({ data })}\n`, 0o600, host.owner)
}
