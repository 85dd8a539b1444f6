import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import path from 'node:path'

/**
 * Removes what was cached beside the packages, which npm does too and without sudo: of a node that was started with it, some is root's.
 * @param {string} root
 */
export function removeCaches(root) {
  const folder = path.join(root, 'node_modules', '.cache')
  try {
    rmSync(folder, { recursive: true, force: true })
  } catch {
    try {
      execFileSync('sudo', ['-n', 'rm', '-rf', '--', folder], { stdio: 'ignore' })
    } catch {
      // npm says what it may not remove.
    }
  }
}
