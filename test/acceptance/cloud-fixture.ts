import { execFile } from 'node:child_process'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { ROOT, type RunningMayfly } from './harness.ts'
import { lockOf } from './registry-fixture.ts'

export const APPS = path.join(ROOT, 'test', 'acceptance', 'apps')

/** Runs the command line beside this process, which serves the registry meanwhile. */
export const runMayfly = (args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<{ code: number; stdout: string; stderr: string }> =>
  new Promise((resolve) => {
    execFile(
      process.execPath,
      [path.join(ROOT, 'bin', 'mayfly.js'), ...args],
      { timeout: 120_000, maxBuffer: 1 << 26, env: { ...process.env, ...environment } },
      (error, stdout, stderr) => resolve({ code: error ? Number(error.code ?? -1) : 0, stdout, stderr }),
    )
  })

/** A copy of a sample app, with a lockfile of what this checkout has, or without one. */
export function copyApp(name: string, to: string, how: { readonly lock?: boolean; readonly mayfly?: object } = {}): string {
  cpSync(path.join(APPS, name), to, { recursive: true })
  const own = JSON.parse(readFileSync(path.join(to, 'package.json'), 'utf8')) as Parameters<typeof lockOf>[0]
  if (how.lock !== false) writeFileSync(path.join(to, 'package-lock.json'), lockOf(own))
  if (how.mayfly) writeFileSync(path.join(to, 'mayfly.json'), JSON.stringify(how.mayfly))
  return to
}

/** What a function of the default project wrote, without the start of a program for each look. */
export async function readLogs(node: RunningMayfly, name: string): Promise<string> {
  const token = readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()
  const at = `${node.ready.url}/api/v1/projects/${node.ready.project.ref}/functions/${name}/logs?limit=1000`
  const { lines = [] } = (await (await fetch(at, { headers: { authorization: `Bearer ${token}` } })).json()) as { lines?: readonly { text: string }[] }
  return lines.map(({ text }) => text.replaceAll('\r', '\n')).join('\n')
}
