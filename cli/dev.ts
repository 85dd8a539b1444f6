import path from 'node:path'
import type { Command } from 'commander'
import type { Common } from './place.ts'

/** `mayfly dev`: a project for as long as one writes. */
export function devCommand(command: (name: string, description: string) => Command): void {
  command('dev [folder]', 'run a folder in a project of its own, again whenever a file changes; Ctrl-C leaves nothing behind').action(
    async (folder: string | undefined, options: Common) => await (await import('./dev/session.ts')).dev(path.resolve(folder ?? '.'), options),
  )
}
