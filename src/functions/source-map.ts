import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import path from 'node:path'

/** What a folder is bundled into, and how its source map stands in it. */
const BUNDLE = 'index.mjs'
const INLINE = '//# sourceMappingURL=data:application/json;base64,'

/** The map of a bundle, as JSON; null where the code is none, or has none. What it says is the word of who bundled. */
export async function sourceMapOf(codeDir: string): Promise<Buffer | null> {
  // An archive may hold a link of that name.
  await using file = await open(path.join(codeDir, BUNDLE), constants.O_RDONLY | constants.O_NOFOLLOW).catch(() => null)
  if (file === null || !(await file.stat()).isFile()) return null
  const code = await file.readFile()
  const at = code.lastIndexOf(INLINE)
  return at === -1 ? null : Buffer.from(code.toString('latin1', at + INLINE.length).trim(), 'base64')
}
