import type { Command } from 'commander'
import { UsageError } from './output.ts'

/** Fields of mayfly.json that a deploy of one function may say by a flag. */
const NUMBERS = {
  memory: ['MB', 'memory of a sandbox'],
  timeout: ['seconds', 'how long a call may take'],
  tmp: ['MB', 'size of /tmp'],
  concurrency: ['calls', 'how many calls one sandbox takes at once'],
  reservedConcurrency: ['calls', 'how many of its calls run at once, and no more; `none` gives back what was reserved'],
  provisioned: ['sandboxes', 'how many sandboxes of the newest version are kept loaded'],
} as const
const TEXTS = {
  entryPoint: ['name', 'the function of a Google app that is meant'],
  reuse: ['how', '`function`, `fork` for a process of its own for each call (Python), `never` for a sandbox of its own'],
  sandbox: ['driver', 'what keeps its sandboxes apart: `crun`, `runc`, `gvisor`, `bwrap`, or `auto` for what the node takes'],
  egress: ['hosts', 'what network it has: `none`, `internet`, or hosts with commas between them, such as `api.example.com,*.example.org:443`'],
} as const

/** As gcloud has them; what else starts a function stands in its mayfly.json. */
const TRIGGERS = {
  triggerBucket: ['name', 'start it by objects of this bucket', (bucket: string) => ({ object: { bucket } })],
  triggerTopic: ['name', 'start it by messages of this topic', (name: string) => ({ topic: { name } })],
} as const

export type DeploySettings = Partial<Record<keyof typeof NUMBERS | keyof typeof TEXTS | keyof typeof TRIGGERS, string>>

/** Adds the flags to a command. */
export function withDeploySettings(command: Command): Command {
  for (const [name, [unit, what]] of Object.entries({ ...NUMBERS, ...TEXTS, ...TRIGGERS }))
    command.option(`--${flagOf(name)} <${unit}>`, `${what}, over what its mayfly.json says`)
  return command
}

/** As a flag is written. */
export const flagOf = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

const egressOf = (text: string): unknown => (text === 'none' || text === 'internet' ? text : text.split(',').map((host) => host.trim()))

/** What the flags say, as fields of mayfly.json; what they may be is the node's to say. @throws UsageError */
export function overridesOf(settings: DeploySettings): Record<string, unknown> {
  const overrides: Record<string, unknown> = {}
  for (const name of Object.keys(NUMBERS) as (keyof typeof NUMBERS)[]) {
    const text = settings[name]
    if (text === undefined) continue
    if (name === 'reservedConcurrency' && text === 'none') overrides[name] = null
    else if (/^\d+$/.test(text)) overrides[name] = Number(text)
    else throw new UsageError(`--${flagOf(name)} must be a whole number of ${NUMBERS[name][0]}${name === 'reservedConcurrency' ? ', or `none`' : ''}`)
  }
  for (const name of Object.keys(TEXTS) as (keyof typeof TEXTS)[]) {
    const text = settings[name]
    if (text !== undefined) overrides[name] = name === 'egress' ? egressOf(text) : text
  }
  const triggers = (Object.keys(TRIGGERS) as (keyof typeof TRIGGERS)[]).flatMap((name) => {
    const given = settings[name]
    return given === undefined ? [] : [TRIGGERS[name][2](given)]
  })
  if (triggers.length > 0) overrides.triggers = triggers
  return overrides
}
