import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { isMade, makeProgram, programOf } from './program.mjs'
import { ROOT } from './sources.ts'

test('the program that was made of the sources is run as long as it says what they do', async () => {
  const root = mkdtempSync(path.join(tmpdir(), 'program-'))
  try {
    const at = (...names: string[]) => path.join(root, ...names)
    for (const folder of ['src', 'node_modules']) mkdirSync(at(folder))
    for (const name of ['zod', 'pino']) symlinkSync(path.join(ROOT, 'node_modules', name), at('node_modules', name))
    cpSync(path.join(ROOT, 'src', 'lib', 'bytes.ts'), at('src', 'bytes.ts'))
    const main = (word: string) =>
      `import { MiB } from './bytes.ts'\nconst { late } = await import('./late.ts')\nconst text: string = [MiB, import.meta.dirname, late, '${word}'].join(' ')\nprocess.stdout.write(text)\n`
    writeFileSync(at('src', 'main.ts'), main('first'))
    writeFileSync(at('src', 'late.ts'), "import { z } from 'zod'\nexport const late: string = z.string().parse('late')\n")
    const says = () => execFileSync(process.execPath, [programOf(root)], { encoding: 'utf8' })
    const source = at('src', 'main.ts')
    assert.equal(programOf(root), source)
    assert.equal(says(), `${2 ** 20} ${at('src')} late first`)
    // What is changed in this moment is not taken for what was read.
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(await makeProgram(root), true)
    assert.notEqual(programOf(root), source)
    assert.ok(programOf(root).endsWith('main.ts.mjs') && isMade(root))
    assert.equal(says(), `${2 ** 20} ${at('src')} late first`)
    assert.equal(await makeProgram(root), false)
    appendFileSync(at('src', 'late.ts'), '// it is another now\n')
    assert.deepEqual([programOf(root), isMade(root)], [source, false])
    writeFileSync(source, main('second'))
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(await makeProgram(root), true)
    assert.equal(says(), `${2 ** 20} ${at('src')} late second`)
    // One that is set up anew while it runs goes on as it began, and leaves nothing once it is over.
    const kept = programOf(root)
    writeFileSync(source, 'process.stdin.resume()\n')
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(await makeProgram(root), true)
    assert.equal(existsSync(kept), false)
    const first = programOf(root)
    const node = spawn(process.execPath, [first], { stdio: ['pipe', 'ignore', 'inherit'] })
    await once(node, 'spawn')
    const write = (text: string) => {
      writeFileSync(source, text)
      utimesSync(source, 1_000_000_000, 1_000_000_000)
    }
    const again = async (text: string) => {
      write(text)
      await new Promise((resolve) => setTimeout(resolve, 20))
      assert.equal(await makeProgram(root), true)
    }
    await again(main('third'))
    assert.equal(existsSync(first), true)
    node.stdin.end()
    await once(node, 'exit')
    await again(main('sixth'))
    assert.equal(existsSync(first), false)
    // Other words of the same length, with the time that the file had.
    write(main('fifth'))
    assert.equal(programOf(root), source)
    assert.equal(says(), `${2 ** 20} ${at('src')} late fifth`)
    // The same words at another time are what it was made of.
    writeFileSync(source, main('sixth'))
    assert.notEqual(programOf(root), source)
    assert.equal(says(), `${2 ** 20} ${at('src')} late sixth`)
    // In another place it is not what was made there.
    const moved = `${root}-moved`
    cpSync(root, moved, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
    assert.equal(programOf(moved), path.join(moved, 'src', 'main.ts'))
    rmSync(moved, { recursive: true, force: true })
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})

test('commands are made of their sources too, and load what they take of Node as it is', async () => {
  const root = mkdtempSync(path.join(tmpdir(), 'commands-'))
  try {
    const at = (...names: string[]) => path.join(root, ...names)
    for (const folder of ['cli', 'node_modules']) mkdirSync(at(folder))
    cpSync(path.join(ROOT, 'node_modules', 'commander'), at('node_modules', 'commander'), { recursive: true })
    writeFileSync(
      at('cli', 'main.ts'),
      `import { promises as fs, readFileSync } from 'node:fs'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { Command } from 'commander'
const { late } = await import('./late.ts')
const all: unknown[] = [new Command('one').name(), path.basename(import.meta.dirname), typeof fs.readFile, readFileSync(import.meta.filename, 'utf8').length > 0, typeof text, late]
process.stdout.write(all.join(' '))
`,
    )
    writeFileSync(at('cli', 'late.ts'), "import * as os from 'node:os'\nexport const late: string = os.EOL === '\\n' ? 'late' : 'other'\n")
    const says = () => execFileSync(process.execPath, [programOf(root, 'commands')], { encoding: 'utf8' })
    const told = 'one cli function true function late'
    assert.equal(says(), told)
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(await makeProgram(root, 'commands'), true)
    assert.ok(programOf(root, 'commands').endsWith('main.ts.mjs') && isMade(root, 'commands') && !isMade(root))
    assert.equal(says(), told)
    // A command that runs by it may load more of it.
    const kept = programOf(root, 'commands')
    appendFileSync(at('cli', 'late.ts'), '// it is another now\n')
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(await makeProgram(root, 'commands'), true)
    assert.ok(existsSync(kept) && programOf(root, 'commands') !== kept)
    // What is bundled of a package goes by what is installed.
    appendFileSync(at('node_modules', 'commander', 'package.json'), '\n')
    assert.equal(programOf(root, 'commands'), at('cli', 'main.ts'))
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})

test('what a command is made of has the modules of Node, also those that it imports later', async () => {
  const root = mkdtempSync(path.join(tmpdir(), 'program-'))
  try {
    for (const folder of ['cli', 'src', 'node_modules']) mkdirSync(path.join(root, folder))
    writeFileSync(
      path.join(root, 'cli', 'main.ts'),
      "import { sep } from 'node:path'\nconst { Agent } = await import('node:https')\nprocess.stdout.write(`${sep} ${typeof Agent}`)\n",
    )
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(await makeProgram(root, 'commands'), true)
    const made = programOf(root, 'commands')
    assert.ok(made.endsWith('.mjs'), made)
    assert.equal(execFileSync(process.execPath, [made], { encoding: 'utf8' }), '/ function')
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})

test('to make a log nobody is asked who made it: Node would read the maps of the sources for the answer', async () => {
  const root = mkdtempSync(path.join(tmpdir(), 'program-'))
  try {
    for (const folder of ['src', 'node_modules']) mkdirSync(path.join(root, folder))
    symlinkSync(path.join(ROOT, 'node_modules', 'pino'), path.join(root, 'node_modules', 'pino'))
    const main = "import pino from 'pino'\npino({ base: null, timestamp: false }, { write: (line: string) => void process.stdout.write(line) }).info('said')\n"
    writeFileSync(path.join(root, 'src', 'main.ts'), main)
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(await makeProgram(root), true)
    const whoAsks = "data:text/javascript,process.getBuiltinModule('node:util').getCallSites = () => { throw new Error('asked') }"
    assert.equal(execFileSync(process.execPath, ['--import', whoAsks, programOf(root)], { encoding: 'utf8' }), '{"level":30,"msg":"said"}\n')
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})
