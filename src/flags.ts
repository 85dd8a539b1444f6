import { flagName, type Section, SettingsError } from './core/settings.ts'

/** Splits what stands behind `up`: `--name value`, `--name=value`, and flags that take none. @throws SettingsError */
export function parseFlags(args: readonly string[], sections: Readonly<Record<string, Section>>): Record<string, string | boolean> {
  const switches = new Set<string>()
  for (const [section, settings] of Object.entries(sections)) {
    for (const [name, setting] of Object.entries(settings)) if (typeof setting.default === 'boolean') switches.add(flagName(section, name))
  }
  const flags: Record<string, string | boolean> = {}
  const problems: string[] = []
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string
    if (!arg.startsWith('--') || arg === '--') {
      problems.push(`${JSON.stringify(arg)} is not an option; see --help`)
      continue
    }
    const mark = arg.indexOf('=')
    const name = mark === -1 ? arg.slice(2) : arg.slice(2, mark)
    if (mark !== -1) flags[name] = arg.slice(mark + 1)
    else if (switches.has(name)) flags[name] = true
    else if (args[i + 1] === undefined || args[i + 1]?.startsWith('--')) problems.push(`--${name} needs a value`)
    else flags[name] = args[++i] as string
  }
  if (problems.length > 0) throw new SettingsError(problems)
  return flags
}

/** The options of the node, as `--help` shows them. */
export function helpText(sections: Readonly<Record<string, Section>>): string {
  const lines = [
    'Usage: mayfly up [options]',
    '',
    'Starts a node. Every option can stand in the environment (MAYFLY_…) and in mayfly.config.json too.',
    '',
    'Options:',
  ]
  for (const [section, settings] of Object.entries(sections)) {
    for (const [name, setting] of Object.entries(settings)) {
      const given = setting.default === null || (Array.isArray(setting.default) && setting.default.length === 0) ? '' : ` (default: ${String(setting.default)})`
      lines.push(`  --${flagName(section, name).padEnd(26)} ${setting.doc}${given}`)
    }
  }
  lines.push('', 'Exit codes: 0 stopped in order, 1 did not start or failed (stderr says why), 2 wrong options.')
  return lines.join('\n')
}
