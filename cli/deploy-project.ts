import type { Client } from '../client/client.ts'
import { applyProject, packProject, readyApps, type PackedProject, sitesOf } from '../client/project.ts'
import { listUrls } from '../client/urls.ts'
import { type AliasInfo, promote } from '../client/versions.ts'
import { packingMemory } from './packing-memory.ts'
import { type HowToDeploy, showChanges } from './changes.ts'
import { bold, complain, dim, green, ms, print, progress, size, yellow } from './output.ts'
import { printAddresses } from './triggers.ts'
import { told } from './versions.ts'

/** Deploys a whole project: says first what will change and why, then what came of it. */
export async function deployProject(client: Client, project: string, folder: string, how: HowToDeploy, overrides: Record<string, unknown> = {}): Promise<void> {
  const hear = (step: string) => progress(`  ${step} …`)
  const packed = await packProject(folder, how.name, hear, { overrides, ...packingMemory(), environment: process.env })
    .then((all) => readyApps(client, project, all, !how.dryRun, hear))
    .finally(() => progress(''))
  const plan = await client.planDeployment(project, packed.document, how.to)
  const changes = plan.changes.filter((change) => change.action !== 'same')
  if (!how.json) {
    print(`${bold(packed.name)}: ${summary(packed)}`)
    for (const warning of [...packed.warnings, ...plan.warnings]) complain(yellow(`warning: ${warning}`))
    showChanges(plan.changes)
  }
  const planned = { deployment: packed.name, changes: plan.changes, warnings: [...packed.warnings, ...plan.warnings] }
  if (how.dryRun) {
    if (how.json) print(JSON.stringify({ ...planned, dryRun: true }))
    else if (changes.length > 0) print('Nothing was changed: this was a dry run.')
    return
  }
  // What is there already is asked for all the same, once: so that it is known whose it is.
  const done =
    plan.reached && changes.every((change) => change.kind === 'alias')
      ? null
      : await applyProject(client, project, packed, plan, hear).finally(() => progress(''))
  const aliases: AliasInfo[] = []
  if (how.to !== null) for (const { name } of packed.functions) aliases.push((await promote(client, project, name, how.to, null)).alias)
  const sites = done?.sites ?? (await sitesOf(client, project, packed))
  const steps = [...packed.steps, ...(done?.steps ?? [])]
  if (how.json)
    return print(
      JSON.stringify({
        ...planned,
        dryRun: false,
        sentBytes: done?.sentBytes ?? 0,
        sites,
        ...(Object.keys(packed.keys).length > 0 ? { keys: packed.keys } : {}),
        ...(how.to === null ? {} : { aliases }),
        steps,
      }),
    )
  if (changes.length > 0 && done) {
    for (const step of steps) {
      const note = done.steps.includes(step) && step.what === 'send' ? `${size(done.sentBytes)} sent` : (step.note ?? '')
      print(dim(`  ${step.what.padEnd(10)} ${ms(step.ms).padEnd(10)} ${note}`.trimEnd()))
    }
    print(green('Deployed.'))
  }
  for (const [at, alias] of aliases.entries()) print(told(packed.functions[at]?.name ?? '', alias))
  for (const [name, key] of Object.entries(packed.keys)) print(`${name}: ${key}\n  It is told this once; \`mayfly secrets set ${name}\` sets another.`)
  for (const { name, app } of packed.functions)
    if (app?.framework === 'azure')
      for (const { url } of (await listUrls(client, project, name)).filter(({ alias }) => alias === null)) print(`${name}: ${url}`)
  await printAddresses(client, project, packed.functions)
  for (const site of sites) print(`${site.name}: ${site.url ?? 'not reached by this host name; start the node with --domain'}`)
}

function summary(packed: PackedProject): string {
  const { functions, sites, document } = packed
  const count = (number: number, what: string) => (number === 0 ? [] : [`${number} ${what}${number === 1 ? '' : 's'}`])
  const buckets = (document.buckets as readonly unknown[]).length
  const queues = ((document.queues ?? []) as readonly unknown[]).length
  const migrations = ((document.migrations ?? []) as readonly unknown[]).length
  const bytes = functions.reduce((sum, one) => sum + one.zip.length, 0) + sites.flatMap((site) => site.files).reduce((sum, file) => sum + file.bytes.length, 0)
  return [
    ...count(functions.length, 'function'),
    ...count(buckets, 'bucket'),
    ...count(sites.length, 'site'),
    ...count(queues, 'queue'),
    ...count(migrations, 'migration'),
    size(bytes),
  ].join(', ')
}
