import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

/** A peer from npm, kept from run to run in a folder of its own: none is a part of the product. @returns its folder */
export function install(kept: string, name: string, version: string, beside: readonly string[] = []): string {
  const prefix = path.join(kept, `${name}-${version}`)
  const wanted = [name, ...beside.map((one) => one.slice(0, one.lastIndexOf('@')))]
  if (!wanted.every((one) => existsSync(path.join(prefix, 'node_modules', one, 'package.json'))))
    execFileSync('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', prefix, `${name}@${version}`, ...beside], { stdio: 'ignore' })
  return prefix
}

/** What a package in such a folder exports. */
export const load = (prefix: string, name: string): unknown => createRequire(path.join(prefix, 'package.json'))(name)

/** Ends the bench in a sentence where one is not there. @param programs  and the packages of Debian that have them */
export function needPrograms(programs: Readonly<Record<string, string>>): void {
  for (const [program, of] of Object.entries(programs))
    try {
      execFileSync('which', [program])
    } catch {
      process.stderr.write(`${program} is not there: it is in Debian's package ${of} (apt-get install ${of})\n`)
      process.exit(1)
    }
}
