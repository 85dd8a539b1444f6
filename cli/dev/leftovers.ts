import { randomBytes } from 'node:crypto'
import { promises as fs, readFileSync } from 'node:fs'
import path from 'node:path'
import { ApiError, type Client } from '../../client/client.ts'
import { createProject, listProjects, removeProject } from '../../client/projects.ts'

/** A project that lives as long as one `mayfly dev`. */
export interface DevProject {
  readonly ref: string
  readonly publishableKey: string
  readonly secretKey: string
  /** With all that it has, and the note that it was there. */
  remove(): Promise<void>
}

/** What stands beside the nodes' pointers while a session runs: which project is whose. */
interface Note {
  readonly url: string
  readonly ref: string
  readonly pid: number
  readonly startTicks: number
}

const DAY_MS = 86_400_000
/** So its name says, to whoever finds it on another machine. */
const NAMED = /^mayfly dev of .{1,100}, until (\d{4}-\d\d-\d\dT[\d:.]+Z)$/

function startTicksOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19])
  } catch {
    return null
  }
}

/** Makes the project, and writes down first that it is to go. */
export async function openDevProject(client: Client, where: { readonly url: string; readonly folder: string; readonly notes: string }): Promise<DevProject> {
  const label = path
    .basename(where.folder)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 20)
  const ref = `dev-${label === '' ? '' : `${label}-`}${randomBytes(4).toString('hex')}`
  const file = path.join(where.notes, `${ref}.json`)
  const note: Note = { url: where.url, ref, pid: process.pid, startTicks: startTicksOf(process.pid) ?? 0 }
  await fs.mkdir(where.notes, { recursive: true, mode: 0o700 })
  await fs.writeFile(file, JSON.stringify(note), { mode: 0o600 })
  const remove = async () => {
    await removeIfThere(client, ref)
    await fs.rm(file, { force: true })
  }
  try {
    const until = new Date(Date.now() + DAY_MS).toISOString()
    const name = `mayfly dev of ${
      path
        .basename(where.folder)
        .replace(/\p{Cc}/gu, '')
        .slice(0, 100) || 'a folder'
    }, until ${until}`
    const { keys } = await createProject(client, ref, name)
    return { ref, ...keys, remove }
  } catch (error) {
    await fs.rm(file, { force: true })
    throw error
  }
}

const removeIfThere = (client: Client, ref: string) =>
  removeProject(client, ref).catch((error: unknown) => {
    if (!(error instanceof ApiError && error.status === 404)) throw error
  })

/** Removes what sessions left that were killed: of this machine at once, of others when their day is over. @returns the refs */
export async function removeLeftovers(client: Client, url: string, notes: string): Promise<readonly string[]> {
  const gone = new Set<string>()
  const running = new Set<string>()
  for (const name of await fs.readdir(notes).catch(() => [])) {
    const file = path.join(notes, name)
    const note = await fs
      .readFile(file, 'utf8')
      .then(
        (text) => JSON.parse(text) as Note,
        () => null,
      )
      .catch(() => null)
    // Of another node: it is looked at when that one is.
    if (note === null || note.url !== url) continue
    if (startTicksOf(note.pid) === note.startTicks) {
      running.add(note.ref)
      continue
    }
    await removeIfThere(client, note.ref)
    await fs.rm(file, { force: true })
    gone.add(note.ref)
  }
  for (const { ref, name } of await listProjects(client)) {
    const until = NAMED.exec(name)?.[1]
    if (until === undefined || running.has(ref) || gone.has(ref) || Date.parse(until) > Date.now()) continue
    await removeIfThere(client, ref)
    gone.add(ref)
  }
  return [...gone]
}
