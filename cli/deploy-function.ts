import { ApiError, type Client } from '../client/client.ts'
import { deployPacked, type Packed, packFolder } from '../client/deploy.ts'
import { readyApp } from '../client/ready-app.ts'
import { planFunction, promote } from '../client/versions.ts'
import { packingMemory } from './packing-memory.ts'
import { type HowToDeploy, showChanges } from './changes.ts'
import { bold, complain, dim, green, ms, print, progress, size, yellow } from './output.ts'
import { printAddresses } from './triggers.ts'
import { told } from './versions.ts'

export interface Place {
  readonly client: Client
  readonly project: string
  /** How the function is called, for people. */
  readonly callOf: (name: string) => string
}

const summaryOf = (packed: Packed) =>
  `${bold(packed.name)}: ${packed.files} file${packed.files === 1 ? '' : 's'}, ${size(packed.zip.length)}${packed.packages.length > 0 ? `, with ${packed.packages.join(', ')} as they are` : ''}`

/** Deploys the folder of one function. @param overrides  fields over those of its mayfly.json */
export async function deployFunction(
  { client, project, callOf }: Place,
  folder: string,
  how: HowToDeploy,
  overrides: Record<string, unknown> = {},
): Promise<void> {
  const hear = (step: string) => progress(`  ${step} …`)
  const packing = { ...packingMemory(), environment: process.env }
  const ready = async () => await readyApp(client, project, await packFolder(folder, how.name, hear, overrides, packing), hear)
  if (how.dryRun) return await planOnly(client, project, (await ready().finally(() => progress(''))).packed, how)
  const work = async () => {
    const { packed, build, sent } = await ready()
    const deployed = await deployPacked(client, project, packed, hear).catch(async (error: unknown) => await inOwnLines(error, packed))
    const told = [...(packed.app?.warnings ?? []), ...(build?.warnings ?? [])]
    const made = { ...deployed, sent: sent || deployed.sent, warnings: [...told, ...deployed.warnings] }
    return { packed, made, promoted: how.to === null ? null : await promote(client, project, packed.name, how.to, null) }
  }
  const { packed, made, promoted } = await work().finally(() => progress(''))
  const steps = [...packed.steps, ...made.steps]
  if (how.json)
    return print(
      JSON.stringify({
        function: made.function,
        changed: made.changed || (promoted?.changed ?? false),
        warnings: made.warnings,
        sentBytes: made.sent ? packed.zip.length : 0,
        files: packed.files,
        packages: packed.packages,
        ...(promoted ? { alias: promoted.alias } : {}),
        steps,
      }),
    )
  print(summaryOf(packed))
  const sent = made.sent ? `${size(packed.zip.length)} sent` : 'nothing to send: the node has these files'
  for (const step of steps)
    print(
      dim(`  ${step.what.padEnd(10)} ${ms(step.ms).padEnd(10)}${step.what === 'send' ? ` ${sent}` : step.note === undefined ? '' : ` ${step.note}`}`.trimEnd()),
    )
  for (const warning of made.warnings) complain(yellow(`warning: ${warning}`))
  print(made.changed ? green('Deployed.') : 'Nothing changes: the node has exactly this already.')
  if (promoted) print(promoted.changed ? green(told(packed.name, promoted.alias)) : told(packed.name, promoted.alias))
  await printAddresses(client, project, [packed])
  print(callOf(packed.name))
}

/** Places of the bundle as those of the user's files. */
async function inOwnLines(error: unknown, { name, root, code }: Packed): Promise<never> {
  if (error instanceof ApiError && root !== undefined && code) {
    const { Stacks } = await import('./dev/stacks.ts')
    const stacks = new Stacks()
    stacks.set(name, root, code)
    error.message = stacks.mapped(name, error.message)
  }
  throw error
}

async function planOnly(client: Client, project: string, packed: Packed, how: HowToDeploy): Promise<void> {
  const plan = await planFunction(client, project, packed.name, { ...packed.definition, artefact: packed.sha256 }, how.to)
  if (how.json) return print(JSON.stringify({ function: packed.name, ...plan, dryRun: true }))
  print(summaryOf(packed))
  for (const warning of plan.warnings) complain(yellow(`warning: ${warning}`))
  if (showChanges(plan.changes)) print('Nothing was changed: this was a dry run.')
}
