import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { InvokeCommand, type LambdaClient } from '@aws-sdk/client-lambda'
import { probeProgram, SHUT, type Step } from './egress-probe.ts'
import { EgressWorld, WORLD } from './egress-world.ts'
import { awsOf } from './aws.ts'
import { processes, ROOT, type RunningMayfly } from './harness.ts'

const USER = `mayfly-egress-${process.pid}`
const skip =
  process.getuid?.() === 0
    ? ['bwrap', 'slirp4netns'].every((program) => existsSync(`/usr/bin/${program}`))
      ? false
      : 'needs the packages bubblewrap and slirp4netns'
    : 'root makes the user'

/**
 * Becomes the user, whose the machine's `/dev/net/tun` is as everywhere but on the barest of machines, and whose clone
 * is where that user may enter. What is to be hidden comes before.
 */
const AS_USER = `set -e
clone="$1" uid="$2" root="$3" hidden="$4" tun="$5"; shift 5
[ -e "$tun" ] || { mknod "$tun" c 10 200; chmod 666 "$tun"; }
mount --bind "$tun" /dev/net/tun
mount --bind "$root" "$clone"
if [ -n "$hidden" ]; then mount --bind /dev/null "$hidden"; fi
cd "$clone"
node="$clone/\${1#"$root"/}"; shift 2
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups env -u XDG_RUNTIME_DIR HOME="$clone/.." "$node" "$clone/bin/mayfly.js" "$@"`

describe('what functions reach of the network where an ordinary user runs the node', { skip, timeout: 300_000 }, () => {
  let world: EgressWorld
  let node: RunningMayfly
  let aws: LambdaClient
  let uid = 0
  let clone = ''
  const asUser = (hidden = '', tun = path.join(world.folder, 'tun')) => [
    'unshare',
    '-m',
    'sh',
    '-c',
    AS_USER,
    'sh',
    clone,
    String(uid),
    ROOT,
    hidden,
    tun,
    process.execPath,
  ]
  const ask = async (name: string, steps: readonly Step[]): Promise<unknown[]> => {
    const reply = await aws.send(new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(steps)) }))
    const text = Buffer.from(reply.Payload ?? []).toString()
    assert.equal(reply.FunctionError, undefined, text)
    return JSON.parse(text) as unknown[]
  }
  const until = async (what: string, holds: () => boolean | Promise<boolean>) => {
    for (let tries = 0; !(await holds()); tries++) {
      assert.ok(tries < 200, what)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  const ofUser = () =>
    processes().filter(({ pid }) => {
      try {
        return statSync(`/proc/${pid}`).uid === uid
      } catch {
        return false
      }
    })
  const usageOf = async (name: string) => {
    const { operatorToken } = JSON.parse(readFileSync(path.join(node.data, 'run.json'), 'utf8')) as { operatorToken: string }
    const reply = await fetch(`${node.ready.url}/api/v1/projects/demo/usage?by=function`, { headers: { authorization: `Bearer ${operatorToken}` } })
    const { usage } = (await reply.json()) as { usage: { functionName: string; egressIn: number; egressOut: number }[] }
    return usage.find((one) => one.functionName === name) ?? { egressIn: 0, egressOut: 0 }
  }
  let deployed = ''

  before(async () => {
    world = await EgressWorld.open('u')
    execFileSync('useradd', ['--no-create-home', '--shell', '/bin/sh', USER], { stdio: 'pipe' })
    uid = Number(execFileSync('id', ['-u', USER], { encoding: 'utf8' }))
    chmodSync(world.folder, 0o711)
    clone = path.join(world.folder, 'clone')
    mkdirSync(clone)
    const data = path.join(world.folder, 'data')
    for (const folder of [data, path.join(world.folder, 'state')]) {
      mkdirSync(folder)
      chownSync(folder, uid, uid)
    }
    node = await world.node([], data, asUser())
    aws = awsOf(node.ready)
    const listed = ['api.example.com:443', '*.example.org:8080', 'inside.example.com', `${WORLD.store}:6379`]
    const program = probeProgram()
    for (const [name, egress] of [
      ['open', 'internet'],
      ['other', 'internet'],
      ['none', 'none'],
      ['listed', listed],
    ] as const) {
      const folder = path.join(world.folder, name)
      mkdirSync(folder)
      writeFileSync(path.join(folder, 'index.js'), program)
      writeFileSync(path.join(folder, 'mayfly.json'), JSON.stringify({ name, egress, timeout: 60 }))
    }
    writeFileSync(
      path.join(world.folder, 'mayfly.json'),
      JSON.stringify({ name: 'egress', functions: ['open', 'other', 'none', 'listed'].map((folder) => ({ folder })) }),
    )
    deployed = world.run('machine', 'sh', [
      '-c',
      'exec "$@" 2>&1',
      'sh',
      process.execPath,
      path.join(ROOT, 'bin', 'mayfly.js'),
      'deploy',
      world.folder,
      '--data',
      data,
    ])
  })
  after(async () => {
    aws?.destroy()
    await node?.stop()
    execFileSync('userdel', ['--force', USER], { stdio: 'ignore' })
    await world?.[Symbol.asyncDispose]()
  })

  it('says that it holds, and deploys without a warning', () => {
    assert.equal(node.ready.sandbox.driver, 'bwrap')
    assert.ok(node.ready.sandbox.limits.includes('egress'), node.stderr().slice(-2000))
    assert.match(deployed, /Deployed/)
    assert.doesNotMatch(deployed, /no network/)
  })

  it('internet: names, HTTP and HTTPS of public servers, from the address of the machine', async () => {
    const said = await ask('open', [
      ['get', 'http://web.example.com/'],
      ['get', `http://${WORLD.web}:8080/`],
      ['tls', 'web.example.com'],
      ['text', 'long.example.com'],
      ['resolve', 'nowhere.example.com'],
      ['size', 'http://web.example.com/bytes?count=5000000'],
    ])
    const of = (name: string) => JSON.stringify({ of: name, from: WORLD.host.outside, length: 0 })
    assert.deepEqual(said, [of('web'), of('web'), of('secure'), 1600, 'ENOTFOUND', 5_000_000])
  })

  it('nothing private, of this machine, or of the way out is reached, in any form and whatever egress says', async () => {
    const listening = world.spawn('machine', process.execPath, [
      '-e',
      `require('http').createServer((q, r) => r.end('host')).listen(7000, '::', () => console.log('x'))`,
    ])
    await new Promise((resolve) => listening.stdout?.once('data', resolve))
    const own = Number(new URL(node.ready.project.url).port)
    const hosts = [
      ...WORLD.shut,
      ...Object.values(WORLD.host),
      '198.18.0.1',
      '127.0.0.1',
      '127.0.0.53',
      '10.0.2.2',
      '10.0.2.3',
      '10.0.2.100',
      '0.0.0.0',
      '255.255.255.255',
    ]
    const targets = hosts.flatMap((host) => [80, 7000, own].map((port) => [host, port] as const))
    const six = ['::ffff:10.9.0.2', '::ffff:169.254.169.254', `::ffff:${WORLD.host.outside}`, 'fd00:9::1', 'fd00:9::2', 'fe80::1%eth0', '64:ff9b::a09:2', '::1']
    for (const name of ['open', 'listed', 'none']) {
      const said = await ask(name, [...targets.map(([host, port]) => ['connect', host, port]), ...six.map((host) => ['connect', host, 7000])])
      for (const [i, one] of said.entries()) {
        // Inside, the platform's own port leads to the relay of the sandbox: that is no way to the host.
        const [host, port] = targets[i] ?? []
        if (/^(127|0)\./.test(host ?? '') && port === own) continue
        assert.match(String(one), SHUT, `${name}: ${host ?? six[i - targets.length]} ${port}`)
      }
    }
    assert.match(String((await ask('open', [['connect', WORLD.web, 25]]))[0]), SHUT)
  })

  it('an address that the machine gets later is its own as well, until it has it no more', async () => {
    const reaches = async () => (await ask('open', [['connect', WORLD.other, 80]]))[0]
    assert.equal(await reaches(), 'connected')
    world.run('machine', 'ip', ['addr', 'add', `${WORLD.other}/32`, 'dev', 'lo'])
    const listening = world.spawn('machine', process.execPath, [
      '-e',
      `require('net').createServer(() => {}).listen(80, '${WORLD.other}', () => console.log('x'))`,
    ])
    await new Promise((resolve) => listening.stdout?.once('data', resolve))
    await until('it is shut', async () => SHUT.test(String(await reaches())))
    world.run('machine', 'ip', ['addr', 'del', `${WORLD.other}/32`, 'dev', 'lo'])
    await until('it is open again', async () => (await reaches()) === 'connected')
  })

  it('a name that becomes private, a private name and a redirect to what is shut do not help', async () => {
    const said = await ask('open', [
      ['resolve', 'rebind.example.com'],
      ['get', 'http://rebind.example.com/'],
      ['get', 'http://inside.example.com/'],
      ...[WORLD.shut[0], WORLD.shut[1], WORLD.host.outside, WORLD.host.public].map((host) => [
        'get',
        `http://web.example.com/redirect?to=${encodeURIComponent(`http://${host}:80/`)}`,
      ]),
    ])
    assert.deepEqual(said[0], [WORLD.web])
    for (const one of said.slice(1)) assert.match(String(one), SHUT)
  })

  it('one sandbox does not reach another', async () => {
    const own = ((await ask('open', [['addresses']]))[0] as string[]).find((one) => /^198\.1[89]\./.test(one)) as string
    assert.deepEqual(await ask('open', [['listen'], ['connect', own, 8080]]), ['listening', 'connected'])
    const said = await ask('other', [
      ['connect', own, 8080],
      ['connect', WORLD.web, 80],
    ])
    assert.match(String(said[0]), SHUT)
    assert.equal(said[1], 'connected')
  })

  it('none: no name and no address; a list: what it names, at its ports', async () => {
    const none = await ask('none', [
      ['get', 'http://web.example.com/'],
      ['get', `http://${WORLD.web}/`],
      ['connect', WORLD.dns, 53],
    ])
    for (const one of none) assert.match(String(one), SHUT)
    const said = await ask('listed', [
      ['connect', WORLD.web, 443],
      ['tls', 'api.example.com'],
      ['get', 'http://api.example.com/'],
      ['get', 'http://a.b.example.org:8080/'],
      ['get', 'http://a.b.example.org/'],
      ['redis', WORLD.store, 'hello'],
      ['connect', WORLD.store, 53],
      ['get', 'http://web.example.com:8080/'],
      ['resolve', 'other.example.com'],
      ['get', 'http://inside.example.com/'],
      ['connect', WORLD.other, 80],
    ])
    const open = { 1: /"of":"secure"/, 3: /"of":"web"/, 5: /hello/ } as Readonly<Record<number, RegExp>>
    for (const [i, one] of said.entries()) assert.match(String(one), open[i] ?? SHUT, `${i}: ${one}`)
  })

  it('what is carried is counted, and a flood leaves others their way', async () => {
    const before = await usageOf('other')
    assert.deepEqual(await ask('other', [['size', 'http://web.example.com/bytes?count=900000']]), [900_000])
    await ask('other', [['post', 'http://web.example.com/', 200_000]])
    await until('it is told', async () => (await usageOf('other')).egressOut - before.egressOut > 200_000)
    const { egressIn, egressOut } = await usageOf('other')
    assert.ok(egressIn - before.egressIn > 900_000 && egressIn - before.egressIn < 990_000, String(egressIn))
    assert.ok(egressOut - before.egressOut < 300_000, String(egressOut))
    const [sent] = await ask('other', [['flood', WORLD.other]])
    assert.ok(Number(sent) > 50_000, String(sent))
    const wayOut = ofUser().find(({ args }) => args.startsWith('slirp4netns '))
    assert.ok(wayOut)
    const sockets = execFileSync('ls', [`/proc/${wayOut.pid}/fd`], { encoding: 'utf8' }).split('\n').length
    assert.ok(sockets < 5_000, String(sockets))
    assert.match(String((await ask('open', [['get', 'http://web.example.com/']]))[0]), /"of":"web"/)
  })

  it('the program that connects is started again when it ends', async () => {
    const [first] = ofUser().filter(({ args }) => args.startsWith('slirp4netns '))
    process.kill(Number(first?.pid), 'SIGKILL')
    await until('there is a way out again', async () => /"of":"web"/.test(String((await ask('open', [['get', 'http://web.example.com/']]))[0])))
    assert.match(String((await ask('open', [['connect', WORLD.host.public, 7000]]))[0]), SHUT)
  })

  it('where it cannot be, doctor says what to type', () => {
    const doctor = (...how: Parameters<typeof asUser>) => {
      const [program = '', ...args] = asUser(...how)
      const said = world.run('machine', program, [...args, 'bin', 'doctor', '--json', '--data', path.join(world.folder, 'state', 'nothing')])
      const { limits, missing } = JSON.parse(said) as { limits: string[]; missing: { what: string; why: string; todo: string }[] }
      assert.ok(!limits.includes('egress'))
      const gap = missing.find(({ what }) => what === 'egress')
      return `${gap?.why} ${gap?.todo}`
    }
    assert.match(doctor('/usr/bin/slirp4netns'), /slirp4netns is not installed.*`sudo apt-get install slirp4netns`/)
    const closed = path.join(world.folder, 'closed')
    execFileSync('mknod', [closed, 'c', '10', '200'])
    chmodSync(closed, 0o600)
    assert.match(doctor('', closed), /EACCES.*\/dev\/net\/tun.*sudo chmod 666 \/dev\/net\/tun/)
  })

  it('killed, it leaves no process that held or carried anything', async () => {
    assert.ok(ofUser().some(({ args }) => args.startsWith('slirp4netns ')) && ofUser().some(({ args }) => args.startsWith('cat')))
    await node.kill()
    await until('all of it ends', () => ofUser().every(({ args }) => !/slirp4netns|^cat|unshare|bwrap|\/var\/lang|init/.test(args)))
    assert.deepEqual(world.leftovers(), [])
  })
})
