import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { program } from '../cli/program.ts'
import { ROOT } from './sources.ts'

const page = readFileSync(path.join(ROOT, 'docs', 'cli.md'), 'utf8')
/** Its own, and those of the commands of a group. */
const optionsOf = (name: string) => {
  const command = program.commands.find((one) => one.name() === name)
  return command ? [command, ...command.commands].flatMap((one) => one.options.flatMap(({ long }) => long ?? [])) : null
}
/** What every command has stands once, below the table. */
const COMMON = new Set(['--url', '--key', '--profile', '--project', '--json', '--data'])
/** Of the node itself, which has its settings from elsewhere. */
const OF_THE_NODE = new Set(['up', 'command', 'config', 'doctor'])

test('docs/cli.md has a row for each command, which names each of its options', () => {
  const missing = program.commands.flatMap((command) => {
    const name = command.name()
    const rows = page.split('\n').filter((line) => line.startsWith('|') && new RegExp(`\`${name}(?![a-z])`).test(line))
    if (rows.length === 0) return [name]
    return (optionsOf(name) ?? []).filter((option) => !COMMON.has(option) && !rows.some((row) => row.includes(option))).map((option) => `${name} ${option}`)
  })
  assert.deepEqual(missing, [])
  for (const option of COMMON) assert.ok(page.includes(option), option)
})

test('docs/cli.md names no command and no option that is not there', () => {
  for (const line of page.split('\n').filter((row) => row.startsWith('| `'))) {
    const [head = ''] = line.slice(2).split(' | ')
    for (const [, name = '', rest = ''] of head.matchAll(/`([a-z]+)([^`]*)`/g)) {
      if (OF_THE_NODE.has(name)) continue
      const options = optionsOf(name)
      assert.ok(options, name)
      for (const [option] of rest.matchAll(/--[a-z-]+/g))
        assert.ok(options.includes(option) || options.includes(option.replace('--', '--no-')), `${name} ${option}`)
    }
  }
})
