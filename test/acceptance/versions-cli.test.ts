import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

let folder = ''
let node: RunningMayfly

before(async () => {
  folder = makeFolder()
  node = await startMayfly(`${folder}/data`)
})
after(async () => {
  await node?.stop()
  removeFolder(folder)
})

const run = (...args: string[]) => mayfly([...args, '--url', node.ready.url, '--key', node.ready.project.secretKey])
const done = (...args: string[]) => {
  const { code, stdout, stderr } = run(...args)
  assert.equal(code, 0, `${args.join(' ')}: ${stderr}`)
  return stdout
}
interface Aliased {
  readonly changed: boolean
  readonly alias: { readonly version: string; readonly other: unknown }
}
const json = <Shape>(...args: string[]) => JSON.parse(done(...args, '--json')) as Shape
const write = (name: string, files: Readonly<Record<string, string>>) => {
  for (const [file, text] of Object.entries(files)) {
    const at = path.join(folder, name, file)
    mkdirSync(path.dirname(at), { recursive: true })
    writeFileSync(at, text)
  }
  return path.join(folder, name)
}
const code = (value: string) => ({
  'index.js': `exports.handler = async (event, context) => ({ value: ${JSON.stringify(value)}, version: context.functionVersion })`,
})
/** By the management API: the command line is started often enough here. */
const called = async (name: string) => {
  const { url, project } = node.ready
  const headers = { authorization: `Bearer ${project.secretKey}` }
  const reply = await fetch(`${url}/api/v1/projects/${project.ref}/functions/${encodeURIComponent(name)}/invoke`, { method: 'POST', headers })
  return { status: reply.status, ...((await reply.json()) as { value?: string; version?: string }) }
}
const valueOf = async (name: string) => (await called(name)).value
const versionOf = async (name: string) => (await called(name)).version

describe('versions by the command line', () => {
  it('deploy --to publishes and points the alias; rollback goes back, and says when there is nothing before', async () => {
    const root = write('greet', code('one'))
    assert.match(done('deploy', root, '--to', 'live'), /Deployed\.\n.*greet:live is version 1\./)
    assert.deepEqual(json<{ payload: unknown }>('invoke', 'greet:live').payload, { value: 'one', version: '1' })
    write('greet', code('two'))
    assert.equal(json<Aliased>('deploy', root, '--to', 'live').alias.version, '2')
    assert.deepEqual([await versionOf('greet:live'), await valueOf('greet:1'), await versionOf('greet')], ['2', 'one', '$LATEST'])
    const again = json<Aliased>('deploy', root, '--to', 'live')
    assert.deepEqual([again.changed, again.alias.version], [false, '2'], 'the same again changes nothing')
    assert.match(done('rollback', 'greet'), /greet:live is version 1\./)
    assert.equal(await versionOf('greet:live'), '1')
    const { code: exit, stderr } = run('rollback', 'greet')
    assert.equal(exit, 1)
    assert.match(
      stderr,
      /the alias "live" of "greet" is at version 1, and there is none that it named before to go back to\n.*Choose a version with `mayfly versions <function>`/,
    )
    const second = run('rollback', 'greet', 'live')
    assert.deepEqual([second.code, second.stderr], [2, 'rollback greet live: write `rollback greet --to live`\n'])
    assert.equal(await versionOf('greet:live'), '1')
  })

  it('promote publishes what is there now, or takes a version; versions and alias show it', async () => {
    const root = write('hop', code('one'))
    done('deploy', root)
    assert.match(done('versions', 'hop'), /no published version/)
    assert.match(done('promote', 'hop'), /Published version 1\.\n.*hop:live is version 1\./)
    assert.match(done('promote', 'hop'), /^Nothing changes: hop:live is version 1\.$/m)
    write('hop', code('two'))
    done('deploy', root)
    assert.equal(json<Aliased>('promote', 'hop', '--to', 'next').alias.version, '2')
    assert.equal(json<Aliased>('promote', 'hop', '--version', '1', '--to', 'next').alias.version, '1')
    assert.equal(await valueOf('hop:next'), 'one')
    const { versions, latest } = json<{ versions: { version: string; aliases: string[] }[]; latest: string }>('versions', 'hop')
    assert.deepEqual(
      versions.map((one) => [one.version, one.aliases]),
      [
        ['1', ['live', 'next']],
        ['2', []],
      ],
    )
    assert.equal(latest, '2')
    assert.match(done('versions', 'hop'), /^VERSION +PUBLISHED +SIZE +ALIASES[\s\S]*The function equals version 2\./)
    assert.equal(run('promote', 'hop', '--version', '9').code, 5)
    assert.equal(run('promote', 'nothing').code, 5)
    assert.equal(run('promote', 'hop', '--to', '7').code, 1)
  })

  it('alias points, shares and removes', async () => {
    assert.match(done('alias', 'hop', 'live', '2', '--weight', '1=0.25'), /hop:live is version 2, 25 % to 1\./)
    const seen = new Set<string | undefined>()
    // Not all at once: they would want more memory than a small machine has.
    for (let drawn = 0; drawn < 60; drawn += 12) for (const one of await Promise.all(Array.from({ length: 12 }, () => versionOf('hop:live')))) seen.add(one)
    assert.deepEqual([...seen].toSorted(), ['1', '2'])
    assert.match(done('alias', 'hop'), /live +2 +25 % to 1 +1/)
    done('alias', 'hop', 'live', '--weight', 'none')
    assert.deepEqual(json<Aliased>('alias', 'hop', 'live').alias.other, null)
    assert.equal(json<Aliased>('alias', 'hop', 'edge', '$LATEST').alias.version, '$LATEST')
    assert.equal(await versionOf('hop:edge'), '$LATEST')
    done('alias', 'hop', 'edge', '--rm')
    for (const [exit, ...args] of [
      [5, 'alias', 'hop', 'edge'],
      [5, 'alias', 'hop', 'new', '9'],
      [2, 'alias', 'hop', 'live', '--weight', '2'],
      [2, 'alias', 'hop', '--rm'],
      [2, 'alias', 'hop', 'live', '2', '--rm'],
      [1, 'alias', 'hop', 'new', '--weight', '1=0.5'],
      [5, 'invoke', 'hop:edge'],
    ] as const)
      assert.equal(run(...args).code, exit, args.join(' '))
  })

  it('what does not load is neither deployed over what does, nor promoted', async () => {
    const root = write('firm', code('good'))
    done('deploy', root, '--to', 'live')
    assert.equal(await valueOf('firm'), 'good')
    write('firm', { 'index.js': 'throw new Error("no settings")' })
    const { code: exit, stderr } = run('deploy', root, '--to', 'live')
    assert.equal(exit, 1)
    assert.match(stderr, /does not load, the one before it stays: .*no settings\n\s+at .*firm\/index\.js:1:7\n/)
    assert.deepEqual([await valueOf('firm'), await versionOf('firm:live')], ['good', '1'])
    // One that never served takes the calls as it is; its alias does not follow.
    const fresh = write('fresh', { 'index.js': 'throw new Error("no settings")' })
    done('deploy', fresh)
    const promoted = run('promote', 'fresh')
    assert.equal(promoted.code, 1)
    assert.match(promoted.stderr, /version 1 of "fresh" does not load, "live" stays as it is: .*no settings/)
    assert.equal(run('alias', 'fresh', 'live').code, 5)
  })

  it('a queued call keeps the alias that it was sent to, down to the dead letter and its replay', async () => {
    const root = write('fails', { 'index.js': 'exports.handler = async () => { throw new Error("always") }', 'mayfly.json': '{"async": {"maxAttempts": 1}}' })
    done('deploy', root, '--to', 'live')
    done('invoke', 'fails:live', '--async')
    const letters = async () => {
      for (let n = 0; n < 20; n++) {
        const { deadLetters } = json('dlq', 'ls', 'fails') as { deadLetters: { id: string; qualifier: string }[] }
        if (deadLetters.length > 0) return deadLetters
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
      assert.fail('it did not become a dead letter')
    }
    const [letter] = await letters()
    assert.equal(letter?.qualifier, 'live')
    done('dlq', 'replay', letter?.id ?? '')
    await letters()
    assert.match(done('dlq', 'ls', 'fails'), / fails:live +attempts +1 /)
  })

  it('deploy --dry-run says what would change and changes nothing: a function, its triggers and its alias', async () => {
    const root = write('dry', { ...code('one'), 'mayfly.json': '{"memory": 256}' })
    assert.deepEqual(json('deploy', root, '--dry-run', '--to', 'live'), {
      function: 'dry',
      changes: [
        { kind: 'function', name: 'dry', action: 'create', why: [] },
        { kind: 'alias', name: 'dry:live', action: 'create', why: ['to a new version'] },
      ],
      warnings: [],
      dryRun: true,
    })
    assert.equal(run('invoke', 'dry').code, 5)
    done('deploy', root, '--to', 'live')
    assert.match(done('deploy', root, '--dry-run', '--to', 'live'), /Nothing changes: the node has exactly this already\./)
    write('dry', { ...code('two'), 'mayfly.json': '{"memory": 512, "triggers": [{"object": {"bucket": "in", "events": ["created"]}}]}' })
    const before = json('versions', 'dry')
    const { changes } = json<{ changes: unknown }>('deploy', root, '--dry-run', '--to', 'live')
    assert.deepEqual(changes, [
      { kind: 'function', name: 'dry', action: 'update', why: ['code', 'memory'] },
      { kind: 'trigger', name: 'dry', action: 'create', why: [] },
      { kind: 'alias', name: 'dry:live', action: 'update', why: ['from version 1 to a new version'] },
    ])
    assert.match(done('deploy', root, '--dry-run'), /~ update +function +dry +code, memory[\s\S]*Nothing was changed: this was a dry run\./)
    assert.deepEqual([json('versions', 'dry'), await valueOf('dry')], [before, 'one'])
    write('dry', { 'mayfly.json': '{"memory": 1}' })
    assert.equal(run('deploy', root, '--dry-run').code, 1, 'what is wrong is told as without it')
  })

  it('deploy --to of a project points the alias at each of its functions', async () => {
    const root = write('pair', {
      'mayfly.json': '{"name": "pair", "functions": ["left", "right"]}',
      'left/index.js': code('left')['index.js'],
      'right/index.js': code('right')['index.js'],
    })
    const plan = json<{ changes: { kind: string; name: string; action: string }[] }>('deploy', root, '--dry-run', '--to', 'live')
    assert.deepEqual(
      plan.changes.map((one) => [one.kind, one.name, one.action]),
      [
        ['function', 'left', 'create'],
        ['alias', 'left:live', 'create'],
        ['function', 'right', 'create'],
        ['alias', 'right:live', 'create'],
      ],
    )
    assert.equal(run('versions', 'left').code, 5)
    const made = json<{ aliases: { name: string; version: string }[] }>('deploy', root, '--to', 'live')
    assert.deepEqual(
      made.aliases.map((one) => [one.name, one.version]),
      [
        ['live', '1'],
        ['live', '1'],
      ],
    )
    assert.deepEqual([await valueOf('left:live'), await valueOf('right:live')], ['left', 'right'])
    write('pair', { 'right/index.js': code('other')['index.js'] })
    done('deploy', root, '--to', 'live')
    assert.deepEqual([await versionOf('left:live'), await valueOf('right:live'), await versionOf('right:live')], ['1', 'other', '2'])
    assert.match(done('deploy', root, '--to', 'live'), /Nothing changes/)
  })
})
