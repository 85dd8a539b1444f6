import path from 'node:path'
import { watch } from 'chokidar'

/** More than the 50 ms in which the watcher tells a second change of a file to nobody: what it leaves out is read all the same. */
const QUIET_MS = 60
const LEFT_OUT = new Set(['node_modules', '.git', '.mayfly', '.vscode'])

/** Calls when something below a folder has changed and it has been quiet for a moment. Nothing of it stays when it is closed. */
export function watchFolder(folder: string, changed: (files: readonly string[]) => void) {
  const below = path.resolve(folder)
  const watcher = watch(below, {
    ignoreInitial: true,
    atomic: true,
    ignored: (file) =>
      path
        .relative(below, file)
        .split(path.sep)
        .some((part) => LEFT_OUT.has(part)) && file.startsWith(below),
  })
  const files = new Set<string>()
  let timer: NodeJS.Timeout | null = null
  watcher.on('all', (_event, file) => {
    files.add(file)
    if (timer) clearTimeout(timer)
    timer = setTimeout(() => {
      timer = null
      const all = [...files]
      files.clear()
      changed(all)
    }, QUIET_MS)
  })
  // A folder that cannot be read is no reason to end.
  watcher.on('error', () => {})
  const ready = new Promise<void>((resolve) => watcher.once('ready', resolve))
  return {
    ready,
    /** Files elsewhere that the code is made of. */
    add: (more: readonly string[]) => void (more.length > 0 && watcher.add([...more])),
    close: async () => {
      if (timer) clearTimeout(timer)
      await watcher.close()
    },
  }
}
