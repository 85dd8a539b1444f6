import type { Command } from 'commander'
import type { Client } from '../client/client.ts'
import { listLimitProfiles, listProjects, type ProjectLimits, setLimitProfile, showProject } from '../client/projects.ts'
import { bold, dim, harmless, print, table, UsageError } from './output.ts'

interface Options {
  readonly profile?: string
  readonly json?: boolean
}

/** `mayfly projects …`: what there is, and which limits their functions are held to. */
export function projectsCommand<O>(
  command: (name: string, description: string) => Command,
  at: (options: O) => { readonly client: Client; readonly project: string },
): void {
  command('projects [what] [ref]', 'projects of the node: `projects`, `projects show <ref>`, `projects profiles`, `projects set <ref> --profile <name>`')
    .option('--profile <name>', 'of `set`: the limits that its functions are held to from the next deploy on')
    .action(async (what: string | undefined, ref: string | undefined, options: O & Options) => {
      if (options.profile !== undefined && what !== 'set') throw new UsageError('--profile goes with `projects set <ref>`')
      switch (what) {
        case undefined:
        case 'ls':
          return await list(options, at(options).client)
        case 'show': {
          const { client, project } = at(options)
          return await show(options, client, ref ?? project)
        }
        case 'profiles':
          return await profiles(options, at(options).client)
        case 'set':
          if (ref === undefined || options.profile === undefined)
            throw new UsageError('projects set: say which project and what, as `projects set <ref> --profile <name>`')
          return await set(options, at(options).client, ref, options.profile)
        default:
          throw new UsageError(`projects ${what}: there is \`projects\`, \`projects show\`, \`projects profiles\` and \`projects set\``)
      }
    })
}

async function list({ json }: Options, client: Client): Promise<void> {
  const projects = await listProjects(client)
  if (json) return print(JSON.stringify({ projects }))
  print(
    table(
      ['REF', 'NAME', 'STATE', 'LIMITS'],
      projects.map((one) => [one.ref, harmless(one.name), one.state, one.profile]),
    ),
  )
}

const range = ({ least, most }: { readonly least: number; readonly most: number }) => (least === most ? String(most) : `${least} to ${most}`)

const numbers = (limits: ProjectLimits): readonly (readonly [string, string])[] => [
  ['memory', `${range(limits.memory)} MB`],
  ['timeout', `${range(limits.timeout)} s`],
  ['/tmp', `${range(limits.tmp)} MB`],
  ['at once in a sandbox', range(limits.concurrency)],
  ['queued event', `at most ${limits.queuedPayload} bytes`],
]

async function show({ json }: Options, client: Client, ref: string): Promise<void> {
  const { project, limits } = await showProject(client, ref)
  if (json) return print(JSON.stringify({ project, limits }))
  print(`${bold(project.ref)}  ${harmless(project.name)}  ${project.state}`)
  print(`limits: ${bold(project.profile)}  ${dim(limits.about)}`)
  for (const [what, value] of numbers(limits)) print(`  ${what.padEnd(22)}${value}`)
}

async function profiles({ json }: Options, client: Client): Promise<void> {
  const known = await listLimitProfiles(client)
  if (json) return print(JSON.stringify({ profiles: known }))
  const heads = known[0] === undefined ? [] : numbers(known[0]).map(([what]) => what.toUpperCase())
  print(
    table(
      ['PROFILE', ...heads],
      known.map((one) => [one.name, ...numbers(one).map(([, value]) => value)]),
    ),
  )
}

async function set({ json }: Options, client: Client, ref: string, profile: string): Promise<void> {
  const project = await setLimitProfile(client, ref, profile)
  print(
    json
      ? JSON.stringify({ project })
      : `Functions of ${project.ref} are held to ${project.profile} from the next deploy on. What is beyond it goes on as it is; the next deploy says so.`,
  )
}
