import path from 'node:path'
import type { Client, DeploymentInfo, DeploymentPlan } from './client.ts'
import { type Hear, inSteps, type Packed, packFolder, type PackingHow } from './deploy.ts'
import { azureFunctions } from './azure-app.ts'
import { isAppOfSeveral } from './framework.ts'
import { readyApp } from './ready-app.ts'
import { FolderError, readMayflyJson } from './mayfly-json.ts'
import { readMigrationFolder } from './migration-folder.ts'
import { parseProjectFile } from './project-file.ts'
import { inside, type PackedFile, packSite } from './site-folder.ts'

export interface PackedProject {
  readonly name: string
  readonly functions: readonly Packed[]
  readonly sites: readonly { readonly name: string; readonly files: readonly PackedFile[] }[]
  /** What the node is asked to be equal to. */
  readonly document: Record<string, unknown>
  readonly steps: Packed['steps']
  /** Of its apps of other clouds, and keys that were made for them. */
  readonly warnings: readonly string[]
  readonly keys: Readonly<Record<string, string>>
}

export interface DeployedProject {
  readonly deployment: DeploymentInfo
  readonly sites: readonly { readonly name: string; readonly url: string | null }[]
  readonly sentBytes: number
  readonly steps: Packed['steps']
}

export interface PackingOptions extends PackingHow {
  /** Fields of an app's function that replace its own. */
  readonly overrides?: Record<string, unknown>
  /** What becomes of each page of a site. */
  readonly page?: (html: Buffer) => Buffer
}

const SENDERS = 6
const POLL_MS = 500

/** Makes of a project's folder what a node is asked for. The same files give the same bytes. @throws FolderError */
export async function packProject(folder: string, name: string | null, hear: Hear = () => {}, how: PackingOptions = {}): Promise<PackedProject> {
  const root = path.resolve(folder)
  const isApp = isAppOfSeveral(root)
  const file = isApp ? {} : parseProjectFile(root, readMayflyJson(root) ?? {})
  const { steps, step } = inSteps(hear)
  const functions: Packed[] = []
  if (isApp) functions.push(await step('files', () => packFolder(root, name, () => {}, how.overrides, how)))
  for (const entry of file.functions ?? []) {
    const { folder: own, ...more } = typeof entry === 'string' ? { folder: entry } : entry
    const at = inside(root, own, 'functions: a folder')
    functions.push(await step(own, () => packFolder(at, null, () => {}, more, how)))
  }
  const sites: { name: string; files: readonly PackedFile[] }[] = []
  for (const site of file.sites ?? [])
    sites.push({ name: site.name, files: await step(site.folder, () => packSite(root, site.name, site.folder, site.scripts ?? [], how)) })
  const migrations = file.migrations === undefined ? [] : readMigrationFolder(root, inside(root, file.migrations, 'migrations: a folder')).files
  const own = name ?? (isApp ? functions[0]?.name : file.name) ?? path.basename(root)
  if (!/^[a-zA-Z0-9_-]{1,64}$/.test(own)) throw new FolderError(`"${own}" is no name of a deployment; give one as "name" in ${path.join(root, 'mayfly.json')}.`)
  return {
    name: own,
    functions,
    sites,
    steps,
    warnings: [],
    keys: {},
    document: {
      name: own,
      functions: functionsOf(functions),
      buckets: file.buckets ?? [],
      sites: sites.map((site) => ({ name: site.name, files: site.files.map((one) => ({ path: one.path, sha256: one.sha256 })) })),
      ...(file.queues && file.queues.length > 0 ? { queues: file.queues } : {}),
      ...(migrations.length > 0 ? { migrations } : {}),
    },
  }
}

const functionsOf = (functions: readonly Packed[]) => functions.map((one) => ({ ...one.definition, name: one.name, artefact: one.sha256 }))

/**
 * Has the node make its apps of other clouds ready.
 * @param make  whether keys that an app asks for are made
 * @throws ApiError
 */
export async function readyApps(client: Client, project: string, packed: PackedProject, make: boolean, hear: Hear = () => {}): Promise<PackedProject> {
  const functions: Packed[] = []
  const warnings: string[] = []
  const keys: Record<string, string> = {}
  const steps = [...packed.steps]
  for (const one of packed.functions) {
    const ready = await readyApp(client, project, one, hear)
    for (const step of ready.packed.steps.slice(one.steps.length))
      steps.push(packed.functions.length === 1 || step.note === undefined ? step : { ...step, note: `${one.name}: ${step.note}` })
    if (ready.build && one.app?.framework === 'azure') {
      const several = await azureFunctions(client, project, ready.packed, ready.build, make)
      functions.push(...several.functions)
      warnings.push(...several.warnings)
      Object.assign(keys, several.keys)
    } else functions.push(ready.packed)
    warnings.push(...[...(one.app?.warnings ?? []), ...(ready.build?.warnings ?? [])].map((warning) => `${one.name}: ${warning}`))
  }
  return { ...packed, functions, warnings, keys, steps, document: { ...packed.document, functions: functionsOf(functions) } }
}

/** Sends what the plan says is missing, asks for the document and waits until it is reached. @throws ApiError */
export async function applyProject(
  client: Client,
  project: string,
  packed: PackedProject,
  plan: DeploymentPlan,
  hear: Hear = () => {},
): Promise<DeployedProject> {
  const { steps, step } = inSteps(hear)
  const sentBytes = await step('send', () => send(client, project, packed, plan))
  const deployment = await step('apply', async () => {
    let now = await client.applyDeployment(project, packed.name, packed.document)
    while (now.state === 'applying') {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
      now = await client.deployment(project, packed.name)
    }
    return now
  })
  if (deployment.state === 'failed') throw new FolderError(`The deployment failed: ${deployment.error ?? 'the node does not say why'}`)
  return { deployment, sites: await sitesOf(client, project, packed), sentBytes, steps }
}

/** Where the sites of a project file are. */
export async function sitesOf(client: Client, project: string, packed: PackedProject): Promise<DeployedProject['sites']> {
  if (packed.sites.length === 0) return []
  const names = new Set(packed.sites.map((site) => site.name))
  return (await client.sites(project)).filter((site) => names.has(site.name)).map(({ name, url }) => ({ name, url }))
}

async function send(client: Client, project: string, packed: PackedProject, { missing }: DeploymentPlan): Promise<number> {
  const zips = new Map(packed.functions.map((one) => [one.sha256, one.zip]))
  const files = new Map(packed.sites.flatMap((site) => site.files.map((one) => [one.sha256, one.bytes])))
  const work = [
    ...missing.artefacts.map((sha256) => ({ bytes: zips.get(sha256), put: client.putArtefact.bind(client, project, sha256) })),
    ...missing.files.map((sha256) => ({ bytes: files.get(sha256), put: client.putSiteFile.bind(client, project, sha256) })),
  ]
  let sent = 0
  const sender = async () => {
    for (let next = work.pop(); next; next = work.pop()) {
      if (!next.bytes) continue
      await next.put(next.bytes)
      sent += next.bytes.length
    }
  }
  await Promise.all(Array.from({ length: SENDERS }, sender))
  return sent
}
