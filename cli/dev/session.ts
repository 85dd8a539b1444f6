import { setMaxListeners } from 'node:events'
import { promises as fs } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { ApiError, UnreachableError } from '../../client/client.ts'
import { FolderError } from '../../client/mayfly-json.ts'
import { stateFolderOf } from '../../client/nodes.ts'
import { UsageError } from '../output.ts'
import { clientOf, type Common, locate } from '../place.ts'
import { openDevProject, removeLeftovers } from './leftovers.ts'
import { LogLines } from './lines.ts'
import { Reloads } from './reload.ts'
import { Stacks } from './stacks.ts'
import { tellJson, tellPeople } from './tell.ts'
import { watchFolder } from './watch.ts'
import { Works } from './works.ts'

/** What takes longer than this to clean up is left to the next start. */
const PATIENCE_MS = 20_000

/** Until Ctrl-C. */
export async function dev(folder: string, options: Common): Promise<void> {
  if (!(await fs.stat(folder).catch(() => null))?.isDirectory()) throw new UsageError(`dev: ${folder} is not a folder`)
  const node = locate(options)
  const client = clientOf(node)
  const notes = path.join(path.dirname(stateFolderOf(process.env, homedir())), 'dev')
  const shows = options.json ? tellJson : tellPeople
  // A terminal and the launcher may both send it; the first counts.
  const stop = new AbortController()
  setMaxListeners(0, stop.signal)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort())
  stop.signal.addEventListener('abort', () => setTimeout(() => process.exit(1), PATIENCE_MS).unref())

  for (const ref of await removeLeftovers(client, node.url, notes)) shows({ event: 'removed', ref })
  await using stack = new AsyncDisposableStack()
  const project = await openDevProject(client, { url: node.url, folder, notes })
  stack.defer(() => project.remove())
  const stacks = new Stacks()
  const reloads = stack.use(new Reloads())
  await reloads.listen()
  const works = stack.use(new Works({ client, project: project.ref, folder, stacks, page: (html) => reloads.page(html) }))
  const logs = new LogLines({ client, project: project.ref, stacks, signal: stop.signal, tell: (said) => shows({ event: 'log', ...said }) })
  stack.defer(() => logs.ended())
  stack.defer(() => stop.abort())

  let wake = Promise.withResolvers<void>()
  const changed = new Set<string>()
  const watcher = watchFolder(folder, (files) => {
    for (const file of files) changed.add(file)
    wake.resolve()
  })
  stack.defer(() => watcher.close())
  stop.signal.addEventListener('abort', () => wake.resolve())
  await watcher.ready
  shows({ event: 'open', url: node.run?.url ?? node.url, ref: project.ref, publishableKey: project.publishableKey, secretKey: project.secretKey })

  for (let first = true; !stop.signal.aborted; first = false) {
    if (!first) await wake.promise
    if (stop.signal.aborted) break
    wake = Promise.withResolvers()
    const files = [...changed].map((file) => path.relative('', file))
    changed.clear()
    const from = performance.now()
    try {
      const round = await works.round()
      watcher.add(round.inputs)
      for (const name of round.functions) logs.follow(name)
      if (round.changed !== null) {
        shows({
          event: 'deployed',
          first,
          files,
          ms: Math.round(performance.now() - from),
          base: `${node.run?.url ?? node.url}/p/${project.ref}`,
          key: project.publishableKey,
          ...round,
          changed: round.changed,
        })
        if (round.changed.some((name) => name.startsWith('site '))) reloads.tell()
      } else if (files.length > 0) shows({ event: 'same', files })
    } catch (error) {
      if (stop.signal.aborted) break
      shows({ event: 'failed', message: messageOf(error, stacks) })
    }
  }
  shows({ event: 'closing', ref: project.ref })
}

/** @throws what is no fault of the folder or of the node */
function messageOf(error: unknown, stacks: Stacks): string {
  if (error instanceof ApiError) return `${stacks.stack(stacks.named(error.message), error.message.split('\n'))}${error.hint === '' ? '' : `\n${error.hint}`}`
  if (error instanceof FolderError || error instanceof UnreachableError) return error.message
  throw error
}
