import { isDeepStrictEqual } from 'node:util'
import { MayflyError } from '../core/errors.ts'
import type { ProjectRef } from '../core/project.ts'
import { differencesOf, type FunctionsService, type UrlSpec } from '../functions/index.ts'
import type { TriggerSpec } from '../core/trigger-spec.ts'
import { routeConflict } from '../core/web-triggers.ts'
import type { Migrations } from '../migrations/index.ts'
import { artefactOf, type Sites } from '../sites/index.ts'
import { type Desired, type DesiredBucket, type DesiredFunction, type DesiredQueue, type DesiredSite, tidiedTriggers } from './document.ts'
import type { Part } from './store.ts'

export interface BucketsOfDeployment {
  get(project: ProjectRef, name: string): Promise<DesiredBucket | null>
  /** Makes it, or makes it equal to this. Its objects stay. */
  ensure(project: ProjectRef, bucket: DesiredBucket): Promise<void>
}

export interface TriggersOfDeployment {
  get(project: ProjectRef, functionName: string): Promise<readonly TriggerSpec[]>
  /** Of all functions of a project. */
  list(project: ProjectRef): Promise<readonly { readonly function: string; readonly spec: TriggerSpec }[]>
  /** What lets such triggers start nothing yet. */
  warnings(project: ProjectRef, triggers: readonly TriggerSpec[]): Promise<readonly string[]>
  /** Replaces all of a function. @param over  functions that give up what they have of it in the same deployment */
  put(project: ProjectRef, functionName: string, triggers: readonly TriggerSpec[], over: readonly string[]): Promise<void>
}

export interface UrlsOfDeployment {
  /** Null when the function has no address of its own. */
  get(project: ProjectRef, functionName: string): Promise<Exclude<UrlSpec, false> | null>
  /** Gives it one, changes the one it has, or takes it away. */
  put(project: ProjectRef, functionName: string, url: UrlSpec): Promise<void>
}

export interface QueuesOfDeployment {
  /** What is another in it than is wanted; null when there is no such queue. */
  differences(project: ProjectRef, queue: DesiredQueue): readonly string[] | null
  /** Makes it, or makes it equal to this. Its messages stay. */
  ensure(project: ProjectRef, queue: DesiredQueue): Promise<void>
  /** Null when there is no such queue. */
  isEmpty(project: ProjectRef, name: string): Promise<boolean | null>
  /** Only when it is empty: messages are somebody's. */
  remove(project: ProjectRef, name: string): Promise<void>
}

/** The rooms whose nouns a project file names. */
export interface Rooms {
  readonly functions: Pick<FunctionsService, 'find' | 'put' | 'delete' | 'artefactBytes' | 'warnings' | 'versions' | 'aliases'>
  readonly buckets: BucketsOfDeployment
  readonly triggers: TriggersOfDeployment
  readonly urls: UrlsOfDeployment
  readonly sites: Pick<Sites, 'find' | 'put' | 'delete' | 'missing'>
  readonly queues: QueuesOfDeployment
  readonly migrations: Pick<Migrations, 'pending' | 'up'>
}

/** `keep`: a bucket that is named no more stays as it is, with its objects, and so does a queue that has messages. */
export type Action = 'create' | 'update' | 'remove' | 'same' | 'keep'
export interface Change {
  readonly kind: 'function' | 'bucket' | 'site' | 'trigger' | 'url' | 'alias' | 'migration' | 'queue'
  /** Of triggers: that of their function; of aliases: `function:alias`. */
  readonly name: string
  readonly action: Action
  /** The fields, or files, that differ. */
  readonly why: readonly string[]
}

const MAX_TOLD = 20

/**
 * What would be made, changed and removed, by looking at what is there now.
 * @param parts  what the deployment has made before
 * @param alias  is pointed at the functions afterwards
 */
export async function planOf(rooms: Rooms, project: ProjectRef, desired: Desired, parts: readonly Part[], alias: string | null = null): Promise<Change[]> {
  const changes: Change[] = []
  await checkRoutes(rooms, project, desired.functions, functionsOf(leftOver(desired, parts)))
  for (const { name } of await pendingOf(rooms, project, desired)) changes.push({ kind: 'migration', name, action: 'create', why: ['has yet to run'] })
  for (const bucket of desired.buckets) changes.push(bucketChange(bucket, await rooms.buckets.get(project, bucket.name)))
  for (const queue of inOrder(desired.queues)) changes.push(queueChange(queue, rooms.queues.differences(project, queue)))
  for (const wanted of desired.functions) changes.push(...(await functionChanges(rooms, project, wanted, alias)))
  for (const site of desired.sites) changes.push(await siteChange(rooms, project, site))
  for (const part of leftOver(desired, parts)) changes.push(...(await removalsOf(rooms, project, part)))
  return changes
}

/**
 * Routes of functions that are deployed together are looked at together, and against those of all others.
 * @param going  functions that are removed by it
 * @throws MayflyError route_conflict
 */
export async function checkRoutes(
  { triggers: room }: Pick<Rooms, 'triggers'>,
  project: ProjectRef,
  functions: readonly { readonly name: string; readonly triggers: readonly TriggerSpec[] }[],
  going: readonly string[],
): Promise<void> {
  const wanted = functions.flatMap(({ name, triggers }) => triggers.flatMap(({ http }) => (http ? [{ function: name, http }] : [])))
  if (wanted.length === 0) return
  const names = new Set([...functions.map(({ name }) => name), ...going])
  const others = (await room.list(project)).flatMap(({ function: name, spec: { http } }) => (http && !names.has(name) ? [{ function: name, http }] : []))
  const conflict = routeConflict(wanted, others)
  if (conflict !== null) throw new MayflyError('route_conflict', conflict)
}

export const functionsOf = (parts: readonly Part[]): string[] => parts.flatMap(({ kind, name }) => (kind === 'function' ? [name] : []))

/** Migrations that have yet to run. @throws MayflyError migration_changed, migration_out_of_order */
export const pendingOf = async ({ migrations }: Pick<Rooms, 'migrations'>, project: ProjectRef, { migrations: wanted = [] }: Desired) =>
  wanted.length === 0 ? [] : await migrations.pending(project, wanted, false)

/** Those triggers that wait for nothing that the same deployment makes; what migrations make is known when they have run. */
export const notMadeBy = (triggers: readonly TriggerSpec[], { buckets }: Desired, changes: readonly Change[]): TriggerSpec[] =>
  triggers.filter(({ object, row }) => {
    if (row) return !changes.some(({ kind }) => kind === 'migration')
    return !buckets.some(({ name }) => name === object?.bucket)
  })

const CREATE = { action: 'create', why: [] } as const
const actionOf = (differs: readonly string[]): Pick<Change, 'action' | 'why'> => ({ action: differs.length > 0 ? 'update' : 'same', why: differs })

/** One function, its triggers where something is said of them, and the alias that is pointed at it afterwards. */
export async function functionChanges(
  { functions, triggers: room, urls }: Pick<Rooms, 'functions' | 'triggers' | 'urls'>,
  project: ProjectRef,
  { name, spec, triggers, url }: Omit<DesiredFunction, 'triggers'> & { readonly triggers: readonly TriggerSpec[] | null },
  alias: string | null,
): Promise<Change[]> {
  const record = await functions.find(project, name)
  const own: Change = { kind: 'function', name, ...(record ? actionOf(differencesOf(record, spec)) : CREATE) }
  const now = record ? await room.get(project, name) : []
  const isSaid = triggers !== null && (triggers.length > 0 || now.length > 0)
  return [
    own,
    ...(isSaid ? [{ kind: 'trigger', name, ...triggerAction(now, triggers) } as const] : []),
    ...urlChange(name, record ? await urls.get(project, name) : null, url),
    ...(alias === null ? [] : [await aliasChange(functions, project, name, alias, own.action === 'same')]),
  ]
}

async function aliasChange(functions: Rooms['functions'], project: ProjectRef, name: string, alias: string, isSame: boolean): Promise<Change> {
  const head = { kind: 'alias', name: `${name}:${alias}` } as const
  const equal = isSame ? await functions.versions.equalOf(project, name) : null
  const to = equal === null ? 'to a new version' : `to version ${equal}`
  const now = await functions.aliases.find(project, name, alias)
  if (!now) return { ...head, action: 'create', why: [to] }
  if (now.version === equal && now.other === null) return { ...head, action: 'same', why: [] }
  return { ...head, action: 'update', why: [`from version ${now.version} ${to}`] }
}

function bucketChange(wanted: DesiredBucket, now: DesiredBucket | null): Change {
  const head = { kind: 'bucket', name: wanted.name } as const
  if (!now) return { ...head, ...CREATE }
  const fields = ['public', 'fileSizeLimit', 'allowedMimeTypes', 'allow'] as const
  return { ...head, ...actionOf(fields.filter((field) => !isDeepStrictEqual(now[field], wanted[field]))) }
}

const queueChange = ({ name }: DesiredQueue, differs: readonly string[] | null): Change => ({ kind: 'queue', name, ...(differs ? actionOf(differs) : CREATE) })

/** Each behind the one that it gives up messages to. */
export function inOrder(queues: readonly DesiredQueue[] = []): DesiredQueue[] {
  const byName = new Map(queues.map((queue) => [queue.name, queue]))
  const ordered = new Set<DesiredQueue>()
  const add = (queue: DesiredQueue, behind: readonly DesiredQueue[]) => {
    const dead = byName.get(queue.spec.deadLetter?.queue ?? '')
    if (dead && !ordered.has(dead) && !behind.includes(dead)) add(dead, [...behind, queue])
    ordered.add(queue)
  }
  for (const queue of queues) if (!ordered.has(queue)) add(queue, [])
  return [...ordered]
}

function triggerAction(now: readonly TriggerSpec[], wanted: readonly TriggerSpec[]): Pick<Change, 'action' | 'why'> {
  if (sameTriggers(now, wanted)) return { action: 'same', why: [] }
  if (now.length === 0) return CREATE
  return wanted.length === 0 ? { action: 'remove', why: ['no longer in the project file'] } : { action: 'update', why: ['triggers'] }
}

function urlChange(name: string, now: Exclude<UrlSpec, false> | null, wanted: UrlSpec | null): Change[] {
  const head = { kind: 'url', name } as const
  if (wanted === null || (wanted === false && now === null)) return []
  if (wanted === false) return [{ ...head, action: 'remove', why: ['`url` is false'] }]
  return [{ ...head, ...(now === null ? CREATE : actionOf((['auth', 'stream'] as const).filter((field) => now[field] !== wanted[field]))) }]
}

export const sameUrl = (now: Exclude<UrlSpec, false> | null, wanted: UrlSpec | null): boolean =>
  urlChange('', now, wanted).every((change) => change.action === 'same')

export const sameTriggers = (a: readonly TriggerSpec[], b: readonly TriggerSpec[]): boolean => isDeepStrictEqual(tidiedTriggers(a), tidiedTriggers(b))

async function siteChange(rooms: Rooms, project: ProjectRef, { name, files }: DesiredSite): Promise<Change> {
  const now = await rooms.sites.find(project, name)
  if (!now) return { kind: 'site', name, ...CREATE }
  if (now.artefact === artefactOf(files)) return { kind: 'site', name, action: 'same', why: [] }
  const wanted = new Map(files.map((file) => [file.path, file.sha256]))
  const differs = [...wanted].filter(([path, sha256]) => now.files.get(path)?.sha256 !== sha256).map(([path]) => path)
  const gone = [...now.files.keys()].filter((path) => !wanted.has(path)).map((path) => `${path} (gone)`)
  const why = [...differs, ...gone].toSorted()
  return { kind: 'site', name, action: 'update', why: why.length > MAX_TOLD ? [...why.slice(0, MAX_TOLD), `and ${why.length - MAX_TOLD} more`] : why }
}

/** What was made for a former document and is in this one no more. */
export function leftOver(desired: Desired, parts: readonly Part[]): Part[] {
  const wanted = new Set(partsIn(desired).map((part) => `${part.kind} ${part.name}`))
  return parts.filter((part) => !wanted.has(`${part.kind} ${part.name}`))
}

export const partsIn = (desired: Desired): Part[] => [
  ...desired.buckets.map(({ name }) => ({ kind: 'bucket', name }) as const),
  ...desired.functions.map(({ name }) => ({ kind: 'function', name }) as const),
  ...desired.sites.map(({ name }) => ({ kind: 'site', name }) as const),
  ...(desired.queues ?? []).map(({ name }) => ({ kind: 'queue', name }) as const),
]

async function removalsOf(rooms: Rooms, project: ProjectRef, { kind, name }: Part): Promise<Change[]> {
  const why = ['no longer in the project file']
  switch (kind) {
    case 'bucket':
      return (await rooms.buckets.get(project, name)) ? [{ kind, name, action: 'keep', why: [...why, 'a deploy removes no objects'] }] : []
    case 'queue': {
      const isEmpty = await rooms.queues.isEmpty(project, name)
      if (isEmpty === null) return []
      return [isEmpty ? { kind, name, action: 'remove', why } : { kind, name, action: 'keep', why: [...why, 'a deploy removes no messages'] }]
    }
    case 'site':
      return (await rooms.sites.find(project, name)) ? [{ kind, name, action: 'remove', why }] : []
    case 'function': {
      if (!(await rooms.functions.find(project, name))) return []
      const triggers = (await rooms.triggers.get(project, name)).length > 0
      return [{ kind, name, action: 'remove', why }, ...(triggers ? [{ kind: 'trigger', name, action: 'remove', why } as const] : [])]
    }
  }
}
