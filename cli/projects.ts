import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { ApiError, type Client } from '../client/client.ts'
import { type GivenKeys, portOf, readGivenKeys, readGivenPort, saidOfFile } from '../client/keys.ts'
import {
  cloneProject,
  createProject,
  listLimitProfiles,
  listProjects,
  pauseProject,
  type ProjectLimits,
  removeProject,
  resumeProject,
  type ProjectShare,
  setLimitProfile,
  setPort,
  setShare,
  showProject,
  showShare,
} from '../client/projects.ts'
import { bold, dim, harmless, print, table, UsageError } from './output.ts'

interface Options {
  readonly profile?: string
  readonly concurrency?: string
  readonly weight?: string
  readonly importKeys?: string
  readonly apiPort?: string
  readonly yes?: boolean
  readonly json?: boolean
}

/** `mayfly projects …`: what there is, and which limits their functions are held to. */
export function projectsCommand<O>(
  command: (name: string, description: string) => Command,
  at: (options: O) => { readonly client: Client; readonly project: string },
): void {
  command(
    'projects [what] [ref] [copy]',
    'projects of the node: `projects`, `projects create <ref>`, `projects show <ref>`, `projects pause <ref>` (no server and no connection until its next request), `projects resume <ref>`, `projects clone <ref> <copy>`, `projects delete <ref> --yes`, `projects profiles`, `projects set <ref> --profile <limits> --concurrency <n> --weight <n> --api-port <n>`',
  )
    .option('--concurrency <n>', 'of `set`: how many of its calls run at once; `none`: as the node is set')
    .option('--weight <n>', 'of `set`: how much of a full node it has beside others, 1 to 100')
    .option('--import-keys <file>', 'of `create`: with the keys and the JWT secret in a file (`-`: stdin), such as the `.env` of a self-hosted Supabase')
    .option(
      '--api-port <n>',
      'of `create` and `set`: a port where its API is served too, at the root instead of below /p/<ref>; also `port` in the file of --import-keys; `none`, of `set`: no such port any more',
    )
    .option('--yes', 'of `delete`: the project goes with its functions, data and files')
    .action(async (what: string | undefined, ref: string | undefined, copy: string | undefined, options: O & Options) => {
      const { profile, concurrency, weight } = options
      // Of `set` it is the limits that its functions are held to; of all else, as everywhere, which node is meant.
      const isSaid = (what === 'set' && profile !== undefined) || concurrency !== undefined || weight !== undefined
      if (isSaid && what !== 'set') throw new UsageError('--concurrency and --weight go with `projects set <ref>`')
      if (options.apiPort !== undefined && what !== 'create' && what !== 'set')
        throw new UsageError('--api-port goes with `projects create <ref>` and `projects set <ref>`')
      switch (what) {
        case undefined:
        case 'ls':
          return await list(options, at(options).client)
        case 'show': {
          const { client, project } = at(options)
          return await show(options, client, ref ?? project)
        }
        case 'create': {
          if (ref === undefined) throw new UsageError('projects create: say its ref, 3 to 40 of a-z, 0-9 and hyphens')
          const given = options.importKeys === undefined ? null : givenKeys(options.importKeys)
          const port = options.apiPort === undefined ? given?.port : apiPortOf(options.apiPort)
          const { client } = at(options)
          const made = await createProject(client, ref, ref, given?.keys, port ?? undefined).catch((error: unknown) => {
            const isOfFile = given !== null && error instanceof ApiError && error.code === 'bad_request'
            throw isOfFile ? new UsageError(`--import-keys ${options.importKeys}: ${saidOfFile(error.message, given.text)}`) : error
          })
          // Its keys are shown where they are asked for: on the console.
          return print(
            options.json
              ? JSON.stringify({ project: made.project })
              : [
                  `Made the project ${ref} at ${client.addressOf(ref)}${port == null ? '' : `, whose API is at port ${port} too`}.`,
                  `Its keys: npx mayfly keys --project ${ref}. Deploy to it: npx mayfly deploy <folder> --project ${ref}`,
                ].join('\n'),
          )
        }
        case 'pause': {
          if (ref === undefined) throw new UsageError('projects pause: say which')
          const project = await pauseProject(at(options).client, ref)
          return print(options.json ? JSON.stringify({ project }) : `Paused ${ref}: it costs no process and no connection until its next request.`)
        }
        case 'resume': {
          if (ref === undefined) throw new UsageError('projects resume: say which')
          const project = await resumeProject(at(options).client, ref)
          return print(options.json ? JSON.stringify({ project }) : `${ref} takes requests; its server starts with the first that needs it.`)
        }
        case 'clone': {
          if (ref === undefined || copy === undefined) throw new UsageError('projects clone: say which project, and the ref of the copy')
          const project = await cloneProject(at(options).client, ref, copy)
          return print(
            options.json
              ? JSON.stringify({ project })
              : `Made ${copy} with the rows and objects of ${ref}. Its keys are its own; functions, secrets and sites are not copied: deploy them with --project ${copy}`,
          )
        }
        case 'delete':
        case 'rm':
          if (ref === undefined) throw new UsageError(`projects ${what}: say which`)
          if (!options.yes) throw new UsageError(`projects ${what}: ${ref} goes with its functions, data and files; say so with --yes`)
          await removeProject(at(options).client, ref)
          return print(options.json ? JSON.stringify({ removed: ref }) : `Removed the project ${ref} with all that it had.`)
        case 'profiles':
          return await profiles(options, at(options).client)
        case 'set':
          if (ref === undefined || !(isSaid || options.apiPort !== undefined))
            throw new UsageError(
              'projects set: say which project and what, as `projects set <ref> --profile <name>`, `--concurrency <n> --weight <n>` or `--api-port <n>`',
            )
          return await set(options, at({ ...options, profile: undefined }).client, ref)
        default:
          throw new UsageError(
            `projects ${what}: there is \`projects\`, \`projects create\`, \`projects show\`, \`projects pause\`, \`projects resume\`, \`projects clone\`, \`projects delete\`, \`projects profiles\` and \`projects set\``,
          )
      }
    })
}

/** @throws UsageError */
function givenKeys(file: string): { readonly keys: GivenKeys; readonly port: number | null; readonly text: string } {
  try {
    const text = readFileSync(file === '-' ? 0 : file, 'utf8')
    return { keys: readGivenKeys(text), port: readGivenPort(text), text }
  } catch (error) {
    // What cannot be read may stand in the message of a parser, and it is a secret.
    const why = error instanceof RangeError || (error instanceof Error && 'code' in error) ? error.message : 'it is not JSON'
    throw new UsageError(`--import-keys ${file}: ${why}`)
  }
}

/** @throws UsageError */
function apiPortOf(text: string): number {
  try {
    return portOf(text)
  } catch {
    throw new UsageError('--api-port: a whole number')
  }
}

async function list({ json }: Options, client: Client): Promise<void> {
  const projects = await listProjects(client)
  if (json) return print(JSON.stringify({ projects }))
  print(
    table(
      ['REF', 'NAME', 'STATE', 'LIMITS', 'OWN PORT'],
      projects.map((one) => [one.ref, harmless(one.name), one.state, one.profile, String(one.apiPort ?? '')]),
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
  const share = await showShare(client, ref)
  if (json) return print(JSON.stringify({ project, limits, share }))
  print(`${bold(project.ref)}  ${harmless(project.name)}  ${project.state}`)
  if (project.apiPort !== undefined) print(`API: also at port ${project.apiPort}, at the root`)
  print(`limits: ${bold(project.profile)}  ${dim(limits.about)}`)
  for (const [what, value] of numbers(limits)) print(`  ${what.padEnd(22)}${value}`)
  print(saysShare(share))
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

const saysShare = ({ concurrency, weight }: ProjectShare) =>
  `beside other projects: ${concurrency === null ? 'as many calls at once as the node lets a project' : `at most ${concurrency} calls at once`}, weight ${weight}`

/** @throws UsageError */
function wholeOf(text: string, what: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new UsageError(`--${what}: a whole number`)
  return Number(text)
}

async function set({ json, profile, concurrency, weight, apiPort }: Options, client: Client, ref: string): Promise<void> {
  const port = apiPort === undefined || apiPort === 'none' ? null : apiPortOf(apiPort)
  let share: ProjectShare | null = null
  if (concurrency !== undefined || weight !== undefined) {
    const now = await showShare(client, ref)
    share = await setShare(client, ref, {
      concurrency: concurrency === undefined ? now.concurrency : concurrency === 'none' ? null : wholeOf(concurrency, 'concurrency'),
      weight: weight === undefined ? now.weight : wholeOf(weight, 'weight'),
    })
  }
  const moved = apiPort === undefined ? null : await setPort(client, ref, port)
  const project = profile === undefined ? moved : await setLimitProfile(client, ref, profile)
  if (json) return print(JSON.stringify({ ...(project && { project }), ...(share && { share }) }))
  if (moved) print(port === null ? `${ref} has no port of its own any more.` : `The API of ${ref} is at port ${port} too, and at no other port of its own.`)
  if (project && profile !== undefined)
    print(`Functions of ${project.ref} are held to ${project.profile} from the next deploy on. What is beyond it goes on as it is; the next deploy says so.`)
  if (share) print(`${ref} ${saysShare(share)}`)
}
