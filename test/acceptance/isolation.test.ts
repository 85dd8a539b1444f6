import assert from 'node:assert/strict'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { after, before, describe, it } from 'node:test'
import { CreateFunctionCommand, InvokeCommand, type LambdaClient, waitUntilFunctionActiveV2 } from '@aws-sdk/client-lambda'
import { awsOf } from './aws.ts'
import { makeFolder, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

// What runs inside: it opens and asks, and never writes to what it should not reach.
const PROBE = `
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
const open = (path, flags) => { try { fs.closeSync(fs.openSync(path, flags)); return 'open' } catch (e) { return e.code } }
const connect = (options) => new Promise((resolve) => { const s = net.connect(options); const done = (x) => { s.destroy(); resolve(x) }; s.on('connect', () => done('connected')); s.on('error', (e) => done(e.code)); s.setTimeout(1500, () => done('timeout')) })
const perl = (program) => { try { return execFileSync('/usr/bin/perl', ['-e', program], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim() } catch (e) { return 'died: ' + (e.stderr || e.message).slice(0, 200) } }
const x64 = process.arch === 'x64'
// name: [number on x64, number on arm64, arguments]
const CALLS = { ptrace: [101, 117, '0, 0, 0, 0'], keyctl: [250, 219, '0, -3, 0'], add_key: [248, 217, '0, 0, 0, 0, -3'], bpf: [321, 280, '0, 0, 0'], unshare_user: [272, 97, '0x10000000'], setns: [308, 268, '0, 0'], mount: [165, 40, '0, 0, 0, 0, 0'], umount2: [166, 39, '0, 0'], pivot_root: [155, 41, '0, 0'], chroot: [161, 51, '0'], io_uring_setup: [425, 425, '1, 0'], userfaultfd: [323, 282, '0'], perf_event_open: [298, 241, '0, 0, -1, -1, 0'], process_vm_readv: [310, 270, '1, 0, 0, 0, 0, 0'], pidfd_open: [434, 434, '1, 0'], init_module: [175, 105, '0, 0, 0'], kexec_load: [246, 104, '0, 0, 0, 0'], reboot: [169, 142, '0, 0, 0'], fsopen: [430, 430, '0, 0'], move_mount: [429, 429, '0, 0, 0, 0, 0'], open_by_handle_at: [304, 265, '0, 0, 0'], syslog: [103, 116, '3, 0, 0'], settimeofday: [164, 170, '0, 0'], sethostname: [170, 161, '0, 0'], swapon: [167, 224, '0, 0'], personality: [135, 92, '0'], clone3: [435, 435, '0, 0'], memfd_secret: [447, 447, '0'], clone_newuser: [56, 220, '0x10000000, 0, 0, 0, 0'] }
export const handler = async ({ what, args }) => {
  switch (what) {
    case 'open': return Object.fromEntries(args.map(([path, flags]) => [path + ' ' + flags, open(path, flags)]))
    case 'list': return Object.fromEntries(args.map((path) => { try { return [path, fs.readdirSync(path)] } catch (e) { return [path, e.code] } }))
    case 'read': return fs.readFileSync(args, 'utf8')
    case 'connect': return Promise.all(args.map(connect))
    case 'syscalls': return Object.fromEntries(Object.entries(CALLS).map(([name, [x, a, rest]]) => [name, perl('my $r = syscall(' + (x64 ? x : a) + ', ' + rest + '); print($r == -1 ? ($!+0) : "allowed $r")')]))
    case 'sockets': return Object.fromEntries([['AF_VSOCK', 40, 1], ['AF_PACKET', 17, 3], ['AF_ALG', 38, 5], ['raw', 2, 3], ['AF_INET', 2, 1]].map(([name, family, type]) => [name, perl('my $r = syscall(' + (x64 ? 41 : 198) + ', ' + family + ', ' + type + ', ' + (name === 'raw' ? 1 : 0) + '); print($r == -1 ? ($!+0) : "opened")')]))
    case 'self': return { uid: process.getuid(), pids: fs.readdirSync('/proc').filter((n) => /^\\d+$/.test(n)).length, status: fs.readFileSync('/proc/self/status', 'utf8'), interfaces: Object.keys(os.networkInterfaces()), hostname: os.hostname(), su: (() => { try { return execFileSync('/usr/bin/su', ['-c', 'id -u'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim() } catch { return 'refused' } })() }
    case 'forge': return ['/fn/cache', '/fn/code', '/fn', '/cache', '/var/runtime', '/var/lang/bin', '/var/task', '/opt', '/fn/opt'].map((folder) => [folder, (() => { try { fs.writeFileSync(folder + '/forged', 'x'); return 'written' } catch (e) { return e.code } })(), (() => { try { fs.chmodSync(folder, 0o777); return 'changed' } catch (e) { return e.code } })()])
    case 'env': return process.env
    case 'mark': fs.writeFileSync('/tmp/mark', args); globalThis.mark = args; return 'marked'
    case 'marked': return { tmp: fs.existsSync('/tmp/mark'), global: globalThis.mark ?? null }
  }
}
`
/** As much code as has a compile cache of its own in each sandbox. */
const LARGE = `${PROBE}\n${Array.from({ length: 2_000 }, (_, n) => `export const filler${n} = (x) => x + ${n}`).join('\n')}\n`

const installed = (program: string) => ['/usr/bin', '/usr/sbin'].some((bin) => existsSync(`${bin}/${program}`))
/** What a node of root takes by itself; the other is looked at by the probes alone. */
const ofRoot = installed('crun') ? 'crun' : 'runc'
const skips = { crun: false, runc: false, bwrap: installed('bwrap') ? false : 'needs the package bubblewrap' } as const

let folder = ''
let node: RunningMayfly
let aws: LambdaClient
const ask = async <T>(what: string, args: unknown = null, name = 'probe'): Promise<T> => {
  const reply = await aws.send(new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify({ what, args })) }))
  const text = Buffer.from(reply.Payload ?? []).toString()
  assert.equal(reply.FunctionError, undefined, text)
  return JSON.parse(text) as T
}

for (const driver of [ofRoot, 'bwrap'] as const) {
  describe(`${driver}: what a function cannot reach`, { skip: skips[driver] }, () => {
    before(async () => {
      folder = makeFolder()
      node = await startMayfly(`${folder}/data`, ['--empty', '--sandbox', driver])
      assert.equal(node.ready.sandbox.driver, driver)
      aws = awsOf(node.ready)
      for (const name of ['probe', 'other']) {
        await aws.send(
          new CreateFunctionCommand({
            FunctionName: name,
            Runtime: 'nodejs24.x',
            Handler: 'index.handler',
            Role: ROLE,
            Timeout: 60,
            MemorySize: 256,
            Code: { ZipFile: await zipOf({ 'index.mjs': LARGE }) },
            Environment: { Variables: { OWN: name } },
          }),
        )
        await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName: name })
      }
    })
    after(async () => {
      aws?.destroy()
      await node?.stop()
      removeFolder(folder)
    })

    it(`${driver}: no file of the host, of the node or of its data`, async () => {
      mkdirSync(`${folder}/secret`)
      writeFileSync(`${folder}/secret/file`, 'secret')
      const paths = [
        `${folder}/secret/file`,
        `${node.data}/instance.key`,
        `${node.data}/run.json`,
        '/etc/shadow',
        '/root/.bashrc',
        '/etc/hostname.host',
        '/proc/1/root/etc/shadow',
        '/var/run/docker.sock',
        '/run/systemd',
      ]
      const opened = await ask<Record<string, string>>(
        'open',
        paths.map((path) => [path, 'r']),
      )
      for (const [path, result] of Object.entries(opened)) assert.notEqual(result, 'open', path)
      const lists = await ask<Record<string, string[] | string>>('list', ['/root', '/home', '/sys', '/run', '/var', '/tmp', '/fn'])
      assert.deepEqual([lists['/home'], lists['/run'], lists['/tmp']], [[], [], []])
      assert.deepEqual((lists['/fn'] as string[]).toSorted(), ['cache', 'code', 'opt'])
      assert.doesNotMatch(await ask<string>('read', '/etc/passwd'), /systemd|sshd|mail/)
    })

    it(`${driver}: nothing can be written but /tmp and /dev/shm`, async () => {
      const targets = [
        '/x',
        '/usr/x',
        '/etc/passwd',
        '/fn/code/index.mjs',
        '/fn/x',
        '/var/task/index.mjs',
        '/var/runtime/bootstrap.mjs',
        '/var/lang/bin/node',
        '/opt/x',
        '/var/x',
        '/proc/sys/kernel/core_pattern',
        '/proc/sys/kernel/hostname',
        '/proc/sysrq-trigger',
        '/sys/x',
        '/dev/x',
      ]
      const opened = await ask<Record<string, string>>(
        'open',
        targets.map((path) => [path, path.endsWith('/x') ? 'wx' : 'r+']),
      )
      for (const [path, result] of Object.entries(opened)) if (!path.startsWith('/dev/x')) assert.notEqual(result, 'open', path)
    })

    it(`${driver}: a forged compile cache has no way in, nor has changed code`, async () => {
      for (const [where, write, mode] of await ask<[string, string, string][]>('forge')) {
        assert.notEqual(write, 'written', where)
        assert.notEqual(mode, 'changed', where)
      }
    })

    it(`${driver}: no device, no kernel memory, no log of the kernel`, async () => {
      const opened = await ask<Record<string, string>>(
        'open',
        ['/dev/mem', '/dev/kmsg', '/dev/kvm', '/dev/sda', '/dev/vda', '/dev/fuse', '/dev/net/tun', '/proc/kcore', '/proc/kmsg'].map((path) => [path, 'r']),
      )
      for (const [path, result] of Object.entries(opened)) {
        // A masked file opens as an empty one.
        if (result === 'open' && path.startsWith('/proc/')) assert.equal(await ask<string>('read', path.split(' ')[0]), '', path)
        else assert.notEqual(result, 'open', path)
      }
    })

    it(`${driver}: system calls that lead out are not there`, async () => {
      const calls = await ask<Record<string, string>>('syscalls')
      for (const [name, result] of Object.entries(calls)) assert.match(result, /^(38|1)$/, `${name}: ${result}`)
      for (const name of ['ptrace', 'keyctl', 'bpf', 'unshare_user', 'io_uring_setup', 'userfaultfd', 'process_vm_readv', 'clone_newuser', 'clone3'])
        assert.equal(calls[name], '38', `${name} answers ENOSYS`)
    })

    it(`${driver}: no raw, packet, kernel-crypto or hypervisor socket`, async () => {
      const sockets = await ask<Record<string, string>>('sockets')
      assert.equal(sockets.AF_INET, 'opened', 'the probe works')
      for (const name of ['AF_VSOCK', 'AF_PACKET', 'AF_ALG', 'raw']) assert.notEqual(sockets[name], 'opened', name)
    })

    it(`${driver}: no process but its own, no capability, no new privilege, a user without rights`, async () => {
      const self = await ask<{ uid: number; pids: number; status: string; interfaces: string[]; hostname: string; su: string }>('self')
      assert.deepEqual([self.uid, self.interfaces, self.hostname, self.su], [1000, ['lo', 'eth0'], 'mayfly', 'refused'])
      assert.ok(self.pids <= 2)
      assert.match(self.status, /CapEff:\t0000000000000000/)
      assert.match(self.status, /CapBnd:\t0000000000000000/)
      assert.match(self.status, /NoNewPrivs:\t1/)
      assert.match(self.status, /Seccomp:\t2/)
    })

    it(`${driver}: no port of the host, no metadata address, nothing private, whatever is open of the internet`, async () => {
      const servers = [createServer().listen(0, '127.0.0.1'), createServer().listen(0, '0.0.0.0'), createServer().listen({ path: '\0mayfly-probe' })]
      await Promise.all(servers.map((server) => new Promise((resolve) => server.once('listening', resolve))))
      const ports = servers.slice(0, 2).map((server) => (server.address() as { port: number }).port)
      const own = Object.values(networkInterfaces())
        .flat()
        .filter((one) => one?.family === 'IPv4')
        .map((one) => one?.address as string)
      const targets = [
        ...ports.flatMap((port) => ['127.0.0.1', ...own].map((host) => ({ host, port }))),
        { host: '169.254.169.254', port: 80 },
        { host: '10.0.0.1', port: 80 },
        { host: '::1', port: ports[0] },
        { path: '\0mayfly-probe' },
      ]
      const results = await ask<string[]>('connect', targets)
      for (const server of servers) server.close()
      for (const [index, result] of results.entries()) assert.notEqual(result, 'connected', JSON.stringify(targets[index]))
    })

    it(`${driver}: nothing of its neighbour: files, memory, environment`, async () => {
      await ask('mark', 'probe was here')
      assert.deepEqual(await ask('marked', null, 'other'), { tmp: false, global: null })
      assert.deepEqual(await ask('marked'), { tmp: true, global: 'probe was here' }, 'its own sandbox keeps both')
      assert.equal((await ask<Record<string, string>>('env', null, 'other')).OWN, 'other')
      const environment = await ask<Record<string, string>>('env')
      for (const name of Object.keys(environment)) assert.doesNotMatch(environment[name] ?? '', new RegExp(node.ready.project.secretKey), name)
      assert.notEqual(environment.AWS_SECRET_ACCESS_KEY, node.ready.accessKey.secret)
    })
  })
}
