import { flagName, type Section, SettingsError } from './core/settings.ts'

/** Splits what stands behind `up`: `--name value`, `--name=value`, and flags that take none. @throws SettingsError */
export function parseFlags(args: readonly string[], sections: Readonly<Record<string, Section>>): Record<string, string | boolean> {
  const known = new Set<string>()
  const switches = new Set<string>()
  for (const [section, settings] of Object.entries(sections)) {
    for (const [name, setting] of Object.entries(settings)) {
      known.add(flagName(section, name))
      if (typeof setting.default === 'boolean') switches.add(flagName(section, name))
    }
  }
  const flags: Record<string, string | boolean> = {}
  const problems: string[] = []
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string
    if (!arg.startsWith('--') || arg === '--') {
      problems.push(`${JSON.stringify(arg)} is not an option; \`mayfly up --help\` lists them`)
      continue
    }
    const mark = arg.indexOf('=')
    const name = mark === -1 ? arg.slice(2) : arg.slice(2, mark)
    if (mark !== -1) flags[name] = arg.slice(mark + 1)
    else if (switches.has(name)) flags[name] = true
    else if (args[i + 1] !== undefined && !args[i + 1]?.startsWith('--')) flags[name] = args[++i] as string
    // One that nobody knows is told as such by whoever knows them all.
    else if (known.has(name)) problems.push(`--${name} needs a value`)
    else flags[name] = true
  }
  if (problems.length > 0) throw new SettingsError(problems)
  return flags
}

const COMMANDS = {
  up: ['Starts a node.', 'Exit codes: 0 stopped in order, 1 did not start or failed (stderr says why), 2 wrong options.'],
  config: [
    'Shows each setting and where it came from: flag, environment, file or default. Needs no running node.',
    'With --json: one document on stdout; `node` in it is the path of the pinned Node.\nExit codes: 0 shown, 2 wrong options.',
  ],
  doctor: [
    'Shows what is in force on this machine, what is missing and what to do. Needs no running node.',
    'With --json: one document on stdout.\nExit codes: 0 functions can run here, 1 something is missing that they need, 2 wrong options.',
  ],
} as const

export const isNodeCommand = (name: string): name is keyof typeof COMMANDS => Object.hasOwn(COMMANDS, name)

/** What `--help` shows of the commands that the node itself answers. */
export function helpText(command: keyof typeof COMMANDS, sections: Readonly<Record<string, Section>>): string {
  const [what, end] = COMMANDS[command]
  const lines = [
    `Usage: mayfly ${command} [options]`,
    '',
    `${what} Every option can stand in the environment (MAYFLY_…) and in mayfly.config.json too.`,
    '',
    'Options:',
  ]
  for (const [section, settings] of Object.entries(sections)) {
    for (const [name, setting] of Object.entries(settings)) {
      const given = setting.default === null || (Array.isArray(setting.default) && setting.default.length === 0) ? '' : ` (default: ${String(setting.default)})`
      lines.push(`  --${flagName(section, name).padEnd(26)} ${setting.doc}${given}`)
    }
  }
  lines.push(`  --${'help'.padEnd(26)} Show this.`, '', end)
  return lines.join('\n')
}
