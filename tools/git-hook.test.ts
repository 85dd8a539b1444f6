import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { installHook } from './git-hook.js'
import { ROOT } from './sources.ts'

// No git that is running now, and no settings of this machine.
const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('GIT_'))
const env = { ...Object.fromEntries(kept), GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1', GIT_CEILING_DIRECTORIES: tmpdir() }

describe('the pre-commit hook', () => {
  let root = ''
  const git = (...args: string[]) => execFileSync('git', args, { cwd: root, encoding: 'utf8', env }).trim()
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'mayfly-hook-'))
  })
  afterEach(() => rmSync(root, { recursive: true, force: true }))
  const repository = () => {
    git('init', '-q')
    git('config', 'user.email', 'a@b')
    git('config', 'user.name', 'a')
  }

  it('is installed once in a work tree', () => {
    repository()
    assert.deepEqual([installHook(root, env), installHook(root, env)], [true, false])
    assert.equal(git('config', '--get', 'core.hooksPath'), 'tools/hooks')
  })
  it('leaves hooks that its owner has chosen', () => {
    repository()
    git('config', 'core.hooksPath', 'mine')
    assert.equal(installHook(root, env), false)
    assert.equal(git('config', '--get', 'core.hooksPath'), 'mine')
  })
  it('is not installed in an unpacked archive, nor in a folder of another repository', () => {
    assert.equal(installHook(root, env), false)
    repository()
    mkdirSync(path.join(root, 'below'))
    assert.equal(installHook(path.join(root, 'below'), env), false)
  })
  it('gives the formatter what is in the commit, then checks types and tidy, and stops at the first that fails', () => {
    repository()
    const program = (file: string, text: string) => {
      mkdirSync(path.dirname(path.join(root, file)), { recursive: true })
      writeFileSync(path.join(root, file), text)
      chmodSync(path.join(root, file), 0o755)
    }
    cpSync(path.join(ROOT, 'tools', 'hooks'), path.join(root, 'tools', 'hooks'), { recursive: true })
    const tells = (name: string) => `#!/bin/sh\necho "${name} $*" >> said\ntest ! -e fail-${name}\n`
    program('node_modules/.bin/biome', tells('biome'))
    program('node_modules/.bin/tsc', tells('tsc'))
    program('bin/mayfly.js', 'require("fs").appendFileSync("said", "tidy " + process.argv.slice(2).join(" ") + "\\n")')
    installHook(root, env)
    writeFileSync(path.join(root, 'a file.ts'), '1')
    writeFileSync(path.join(root, 'other.ts'), '1')
    git('add', 'a file.ts')
    git('commit', '-qm', 'one')
    assert.deepEqual(readFileSync(path.join(root, 'said'), 'utf8').trim().split('\n'), [
      'biome check --error-on-warnings --no-errors-on-unmatched a file.ts',
      'tsc --noEmit -p .',
      'tsc --noEmit -p console',
      'tidy --node tools/tidy.ts',
    ])
    writeFileSync(path.join(root, 'fail-tsc'), '')
    git('add', 'other.ts')
    assert.notEqual(spawnSync('git', ['commit', '-qm', 'two'], { cwd: root, env }).status, 0)
    assert.equal(git('log', '--format=%s'), 'one')
  })
})
