import { execFileSync } from 'node:child_process'
import { realpathSync } from 'node:fs'

/**
 * Lets git run tools/hooks in a checkout of ours, unless its owner has chosen other hooks or it is no work tree.
 * @param {string} root
 * @param {Record<string, string | undefined>} env
 * @returns {boolean} whether it was set now
 */
export function installHook(root, env) {
  const git = (...args) => {
    try {
      return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], env }).trim()
    } catch {
      return null // no git, no work tree, not set
    }
  }
  const top = git('rev-parse', '--show-toplevel')
  if (top === null || realpathSync(top) !== realpathSync(root) || git('config', '--get', 'core.hooksPath') !== null) return false
  return git('config', 'core.hooksPath', 'tools/hooks') !== null
}
