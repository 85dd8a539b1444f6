import assert from 'node:assert/strict'
import { promises as fs } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { runcVersion } from './drivers/oci-runtimes.ts'
import { PoolFixture } from './pool-fixture.ts'
import type { SandboxSpec } from './types.ts'

const isolated = process.getuid?.() === 0 && (await runcVersion()) !== null

const CODE: Record<string, string> = {
  layered: `const from = require('from-layer')
exports.handler = async () => {
  const { createRequire } = require('node:module'), { execFileSync } = require('node:child_process'), fs = require('node:fs')
  const root = process.env.LAMBDA_TASK_ROOT, opt = require('node:path').dirname(root) === '/var' ? '/opt' : root.replace(/code$/, 'opt')
  const lost = await import('from-layer').then(() => 'found', (error) => error.code)
  return { from: from.name, again: createRequire(root + '/x.js')('from-layer') === from, tool: execFileSync('tool', { encoding: 'utf8' }).trim(), lost,
    link: fs.readlinkSync(opt + '/bin/again'), through: fs.readFileSync(opt + '/bin/again', 'utf8').length > 0, data: fs.existsSync(opt + '/data') ? fs.readdirSync(opt + '/data').length : 0,
    real: [fs.realpathSync(opt + '/bin/tool'), fs.realpathSync(__filename), require.resolve('from-layer')], cwd: process.cwd(), opt: fs.readdirSync(opt).sort() }
}`,
  bare: `const fs = require('node:fs'); exports.handler = async () => ({ root: fs.readdirSync(process.env.LAMBDA_TASK_ROOT), library: process.env.LD_LIBRARY_PATH, path: process.env.PATH, node: process.env.NODE_PATH })`,
  library: `exports.handler = async () => require('./lib/own.js')`,
  wrapped: `let n = 0; exports.handler = async (event) => { if (event.exit !== undefined) process.exit(event.exit); if (event.kill) process.kill(process.pid, 'SIGKILL'); console.log('call', ++n); return { n, added: process.env.ADDED, ran: globalThis.ran, root: process.env.LAMBDA_TASK_ROOT, own: process.env.OWN, mark: Object.keys(process.env).filter((name) => name.startsWith('_MAYFLY')) } }`,
  heap: `exports.handler = async ({ hog, abort }) => {
  const all = []
  for (let n = 0; hog; n++) all.push({ n, more: [n] })
  if (abort) process.abort()
  return { mb: Math.round(require('node:v8').getHeapStatistics().heap_size_limit / 1048576), options: process.env.NODE_OPTIONS, mark: Object.keys(process.env).filter((name) => name.startsWith('_MAYFLY')) }
}`,
  forge: `const fs = require('node:fs'); exports.handler = async () => ['/opt', '/opt/bin', '/var/task', '/var/lang/bin', '/var/runtime'].map((at) => { try { fs.writeFileSync(at + '/forged', ''); return 'written' } catch (error) { return error.code } })
  .concat(['/opt/bin/tool', '/var/task/index.js'].map((at) => { try { fs.chmodSync(at, 0o777); return 'changed' } catch (error) { return error.code } }))`,
}

for (const name of ['process', ...(isolated ? ['runc'] : [])] as ('process' | 'runc')[]) {
  describe(`layers in a sandbox by ${name}`, { timeout: 240_000 }, () => {
    const fixture = new PoolFixture(name, CODE)
    const opt = (which: string) => path.join(fixture.data, 'opt', which)
    const specOf = (code: string, changes: Partial<SandboxSpec> = {}) => fixture.specOf(code, changes)

    before(async () => {
      for (const [which, files] of [
        ['small', 0],
        ['large', 400],
      ] as const) {
        const module = path.join(opt(which), 'nodejs', 'node_modules', 'from-layer')
        await fs.mkdir(module, { recursive: true })
        await fs.writeFile(path.join(module, 'index.js'), `exports.name = '${which}'`, { mode: 0o444 })
        await fs.mkdir(path.join(opt(which), 'bin'))
        await fs.writeFile(path.join(opt(which), 'bin', 'tool'), `#!/bin/sh\necho ${which} tool\n`, { mode: 0o555 })
        await fs.symlink('tool', path.join(opt(which), 'bin', 'again'))
        await fs.mkdir(path.join(opt(which), 'lib'))
        for (let n = 0; n < files; n++) await fs.writeFile(path.join(opt(which), `file-${n}`), '', { mode: 0o444 })
      }
      const wrapping = opt('wrapping')
      await fs.mkdir(wrapping)
      // As wrappers do it: an option goes before the script, which is last.
      const good = `#!/bin/bash\necho the wrapper begins\nexport ADDED='by the wrapper'\nargs=("$@")\nexec "\${args[@]:0:$#-1}" --require "$(dirname "$0")/first.cjs" "\${args[@]: -1}"\n`
      await fs.writeFile(path.join(wrapping, 'good'), good, { mode: 0o555 })
      await fs.writeFile(path.join(wrapping, 'bad'), '#!/bin/sh\necho cannot go on >&2\nexit 3\n', { mode: 0o555 })
      await fs.writeFile(path.join(wrapping, 'first.cjs'), `globalThis.ran = 'before'`, { mode: 0o444 })
      await fs.mkdir(path.join(fixture.data, 'code', 'library', 'lib'))
      await fs.writeFile(path.join(fixture.data, 'code', 'library', 'lib', 'own.js'), `module.exports = 'own'`, { mode: 0o444 })
      await fixture.openFirst()
    })
    after(() => fixture[Symbol.asyncDispose]())

    for (const which of ['small', 'large']) {
      test(`modules, programs and links of a ${which} layer are there, also when the code is loaded again and at deploy`, async () => {
        const spec = specOf('layered', { key: `layered-${which}`, optDir: opt(which), reuse: 'never' })
        assert.deepEqual(await fixture.pool.build(spec).then(({ ok, error }) => [ok, error]), [true, null])
        for (const _ of [1, 2, 3]) {
          const { value } = await fixture.call(spec)
          const { real, cwd, opt: listed, ...told } = value
          assert.deepEqual(told, { from: which, again: true, tool: `${which} tool`, lost: 'ERR_MODULE_NOT_FOUND', link: 'tool', through: true, data: 0 })
          assert.equal(listed.length, which === 'small' ? 3 : 403)
          if (name !== 'process') {
            assert.deepEqual(real, ['/opt/bin/tool', '/var/task/index.js', '/opt/nodejs/node_modules/from-layer/index.js'])
            assert.equal(cwd, '/var/task')
          }
        }
      })
    }

    test('AWS_LAMBDA_EXEC_WRAPPER starts the runtime with what it adds, and its ends are told as ever', async () => {
      const wrapper = (which: string) => (name !== 'process' ? `/opt/${which}` : path.join(opt('wrapping'), which))
      const specFor = (which: string) =>
        specOf('wrapped', { key: `wrapped-${which}`, optDir: opt('wrapping'), environment: { AWS_LAMBDA_EXEC_WRAPPER: wrapper(which), OWN: 'own' } })
      let printed = ''
      const log = { write: (_: string, bytes: Uint8Array) => void (printed += Buffer.from(bytes).toString()), lost: () => {} }
      const good = specFor('good')
      assert.equal((await fixture.pool.build(good)).ok, true)
      const first = await fixture.call(good, {}, log)
      const { root, ...value } = first.value
      assert.deepEqual(value, { n: 1, added: 'by the wrapper', ran: 'before', own: 'own', mark: [] })
      if (name !== 'process') assert.equal(root, '/var/task')
      assert.match(printed, /^the wrapper begins\n.*call 1/s)
      const second = await fixture.call(good)
      assert.deepEqual([second.value.n, second.cold, second.id], [2, null, first.id])
      const exited = await fixture.call(good, { exit: 7 })
      assert.match(exited.value.errorMessage, /exit status 7$/)
      assert.match((await fixture.call(good, { kill: true })).value.errorMessage, /signal: killed$/)
      assert.equal((await fixture.call(good)).value.n, 1)
      printed = ''
      await assert.rejects(fixture.call(specFor('bad'), {}, log), { errorType: 'Runtime.ExitError' })
      assert.match(printed, /cannot go on/)
      await assert.rejects(fixture.call(specFor('none')), { errorType: 'Runtime.InvalidEntrypoint' })
    })

    test('NODE_OPTIONS holds as for any Node: the heap, and what V8 says at its limit is in the log', async () => {
      let printed = ''
      const log = { write: (_: string, bytes: Uint8Array) => void (printed += Buffer.from(bytes).toString()), lost: () => {} }
      const withOptions = (NODE_OPTIONS: string) => specOf('heap', { key: `heap ${NODE_OPTIONS}`, memoryMb: 512, environment: { NODE_OPTIONS } })
      const own = withOptions('--max-old-space-size=64 --enable-source-maps')
      assert.equal((await fixture.pool.build(own)).ok, true)
      const { mb, ...told } = (await fixture.call(own)).value
      assert.deepEqual(told, { options: own.environment['NODE_OPTIONS'], mark: [] })
      assert.ok(mb >= 64 && mb < 150, `${mb} MB`)
      // As on Lambda most of the memory, where its options say nothing of it.
      const other = (await fixture.call(withOptions('--enable-source-maps'))).value
      assert.ok(other.mb >= 460 && other.mb < 560, `${other.mb} MB`)
      const ended = await fixture.call(own, { hog: true }, log)
      assert.match(ended.value.errorMessage, /Runtime exited with error/)
      assert.match(printed, /FATAL ERROR: .*JavaScript heap out of memory/)
      printed = ''
      await assert.rejects(fixture.call(withOptions('--no-such-option'), {}, log), { errorType: 'Runtime.ExitError' })
      assert.match(printed, /--no-such-option is not allowed in NODE_OPTIONS/)
      // Whatever it is made of, the caller hears that it does not start, the log says why, and nobody waits.
      for (const [options, why] of [
        ['"open', /unterminated string/],
        ['--enable-source-maps\n--title=x', /is not allowed in NODE_OPTIONS/],
        ['x\0y', /must be a string without null bytes/],
        [`--title=${'x'.repeat(200_000)}`, /E2BIG/],
        ['--import /nowhere.mjs', /Cannot find module '\/nowhere\.mjs'/],
        ['--max-old-space-size=1', /out of memory/],
      ] as const) {
        printed = ''
        await assert.rejects(fixture.call(withOptions(options), {}, log), { errorType: 'Runtime.ExitError' }, options.slice(0, 40))
        assert.match(printed, why)
      }
      printed = ''
      await fixture.call(specOf('heap', { key: 'aborts' }), { abort: true }, log)
      assert.match(printed, /Native stack trace/, 'also of one that was not started anew')
    })

    test('without layers /opt is empty, and nothing is added to the code', async () => {
      const { value } = await fixture.call(specOf('bare'))
      assert.deepEqual(value.root, ['index.js'])
      assert.equal((await fixture.call(specOf('library'))).value, 'own')
      if (name === 'process') return
      assert.equal(value.path, '/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin')
      assert.equal(value.library, '/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib')
      assert.equal(value.node, '/opt/nodejs/node24/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task')
    })

    if (name !== 'process')
      test('neither layers nor code can be written from inside', async () => {
        const { value } = await fixture.call(specOf('forge', { optDir: opt('small') }))
        assert.ok(
          (value as string[]).every((code) => ['EROFS', 'EACCES', 'EPERM'].includes(code)),
          JSON.stringify(value),
        )
      })
  })
}
