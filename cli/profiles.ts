import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { UsageError } from './output.ts'

/** A node that somebody signed in to. */
export interface Profile {
  readonly url: string
  readonly key: string
  /** What commands are about where they name no project. */
  readonly project: string
}

interface Kept {
  /** The profile that is used where none is named; null: the node of this machine. */
  readonly current: string | null
  readonly profiles: Readonly<Record<string, Profile>>
}

const { env } = process
const fileOf = () => path.join(env.XDG_CONFIG_HOME || path.join(homedir(), '.config'), 'mayfly', 'profiles.json')
const NAME = /^[a-zA-Z0-9_-]{1,40}$/

export function readProfiles(): Kept {
  let text: string
  try {
    text = readFileSync(fileOf(), 'utf8')
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return { current: null, profiles: {} }
    throw error
  }
  try {
    const kept = JSON.parse(text) as Kept
    return { current: kept.current ?? null, profiles: Object.assign(Object.create(null), kept.profiles) as Kept['profiles'] }
  } catch {
    throw new UsageError(`${fileOf()} cannot be read as JSON. Remove it and sign in again.`)
  }
}

/** Whole or not at all, for nobody's eyes but the user's. */
export function writeProfiles(kept: Kept): void {
  const file = fileOf()
  const folder = path.dirname(file)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const beside = `${file}.${process.pid}`
  writeFileSync(beside, `${JSON.stringify(kept, null, 2)}\n`, { mode: 0o600 })
  chmodSync(beside, 0o600)
  renameSync(beside, file)
}

/** The profile of this name, else of MAYFLY_PROFILE, else the current one. @throws UsageError when it is not there */
export function profileFor(name: string | undefined): Profile | null {
  const kept = readProfiles()
  const wanted = name ?? env.MAYFLY_PROFILE ?? kept.current
  if (wanted === null || wanted === '') return null
  const found = kept.profiles[wanted]
  if (!found) throw new UsageError(`there is no profile ${wanted}: \`mayfly profiles\` lists them, \`mayfly login <url> --profile ${wanted}\` makes it`)
  return found
}

/** @throws UsageError */
export function checkProfileName(name: string): string {
  if (!NAME.test(name)) throw new UsageError('--profile: 1 to 40 letters, digits, - and _')
  return name
}
