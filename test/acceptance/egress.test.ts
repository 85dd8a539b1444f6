import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { InvokeCommand, type LambdaClient } from '@aws-sdk/client-lambda'
import { probeProgram, SHUT, type Step } from './egress-probe.ts'
import { EgressWorld, WORLD } from './egress-world.ts'
import { awsOf } from './aws.ts'
import { PROCESSES, ROOT, type RunningMayfly } from './harness.ts'
import { PASSWORD, startServerOfOthers } from './postgres-server.ts'

const PYTHON = `
import http.client, smtplib, ssl, urllib.request
def handler(steps, context):
    results = []
    for step, *args in steps:
        try:
            if step == 'get':
                results.append(urllib.request.urlopen(args[0], timeout=4).read().decode()[:200])
            elif step == 'tls':
                connection = http.client.HTTPSConnection(args[0], timeout=4, context=ssl._create_unverified_context())
                connection.request('GET', '/')
                results.append(connection.getresponse().read().decode())
            else:
                with smtplib.SMTP(args[0], int(args[1]), timeout=4) as mail:
                    results.append(str(mail.sendmail('a@example.com', ['b@example.com'], 'Subject: hello\\r\\n\\r\\nhello')))
        except Exception as error:
            results.append(type(error).__name__ + ': ' + str(error))
    return results
`

let world: EgressWorld
let node: RunningMayfly
/** A neighbour on the same machine. */
let second: RunningMayfly
const clients = new Map<RunningMayfly, LambdaClient>()

async function ask(name: string, steps: readonly Step[], of = node): Promise<unknown[]> {
  const aws = clients.get(of) ?? awsOf(of.ready)
  clients.set(of, aws)
  const reply = await aws.send(new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(steps)) }))
  const text = Buffer.from(reply.Payload ?? []).toString()
  assert.equal(reply.FunctionError, undefined, text)
  return JSON.parse(text) as unknown[]
}
const forget = (of: RunningMayfly) => {
  clients.get(of)?.destroy()
  clients.delete(of)
}
interface Carried {
  readonly egressIn: number
  readonly egressOut: number
}
async function usageOf(name: string, of = node): Promise<Carried> {
  const { operatorToken } = JSON.parse(readFileSync(path.join(of.data, 'run.json'), 'utf8')) as { operatorToken: string }
  const reply = await fetch(`${of.ready.url}/api/v1/projects/demo/usage?by=function`, { headers: { authorization: `Bearer ${operatorToken}` } })
  const { usage } = (await reply.json()) as { usage: (Carried & { functionName: string })[] }
  const { egressIn, egressOut } = usage.find((one) => one.functionName === name) ?? { egressIn: 0, egressOut: 0 }
  return { egressIn, egressOut }
}
const forwarding = () => ['all', 'eth0', 'eth1'].map((name) => world.run('machine', 'cat', [`/proc/sys/net/ipv4/conf/${name}/forwarding`]).trim())

function write(name: string, code: Readonly<Record<string, string>>, more: object): string {
  const folder = path.join(world.folder, name)
  mkdirSync(folder, { recursive: true })
  for (const [file, text] of Object.entries(code)) writeFileSync(path.join(folder, file), text)
  writeFileSync(path.join(folder, 'mayfly.json'), JSON.stringify({ name, ...more }))
  return folder
}

describe('what functions reach of the network', { timeout: 300_000 }, () => {
  before(async () => {
    world = await EgressWorld.open('e')
    node = await world.node()
    second = await world.node()
    const probe = { 'index.js': probeProgram() }
    const listed = ['api.example.com:443', '*.example.org:8080', 'inside.example.com', 'stuffed.example.com', `${WORLD.store}:6379`]
    for (const [name, egress] of [
      ['open', undefined],
      ['none', 'none'],
      ['listed', listed],
      ['metered', 'internet'],
    ] as const)
      write(name, probe, { egress, timeout: 60 })
    world.mayfly(['deploy', path.join(world.folder, 'open'), '--data', second.data])
    write('snake', { 'index.py': PYTHON }, { runtime: 'python3.11', handler: 'index.handler' })
    const project = { name: 'egress', functions: ['open', 'none', 'listed', 'metered', 'snake'].map((folder) => ({ folder })) }
    writeFileSync(path.join(world.folder, 'mayfly.json'), JSON.stringify(project))
    world.mayfly(['deploy', world.folder, '--data', node.data])
  })
  after(async () => {
    for (const one of [...clients.keys()]) forget(one)
    for (const one of [node, second]) await one?.stop()
    await world?.[Symbol.asyncDispose]()
  })

  it('egress internet, which is the default: HTTP and HTTPS by name and by address, from Node and from Python', async () => {
    const said = await ask('open', [
      ['get', 'http://web.example.com/'],
      ['get', `http://${WORLD.web}:8080/`],
      ['tls', 'web.example.com'],
      ['lookup', 'api.example.com'],
      ['six', 'web.example.com'],
      ['text', 'long.example.com'],
      ['resolve', 'nowhere.example.com'],
    ])
    const of = (name: string) => JSON.stringify({ of: name, from: WORLD.host.outside, length: 0 })
    assert.deepEqual(said, [of('web'), of('web'), of('secure'), [WORLD.web], 'ENODATA', 1600, 'ENOTFOUND'])
    assert.deepEqual(
      await ask('snake', [
        ['get', 'http://web.example.com/'],
        ['tls', 'api.example.com'],
      ]),
      [of('web'), of('secure')],
    )
  })

  it('egress internet: a PostgreSQL, a Redis, and mail handed in at its port, but not the port between servers', async () => {
    const server = await startServerOfOthers(path.join(world.folder))
    await server.make('app')
    const bridge = createServer((near) => {
      const far = connect(server.port, '127.0.0.1')
      for (const one of [near, far]) one.on('error', () => {})
      near.pipe(far).pipe(near)
    })
    await new Promise<void>((resolve) => bridge.listen(world.databaseSocket, resolve))
    try {
      const url = `postgres://app:${encodeURIComponent(PASSWORD)}@store.example.com:5432/app`
      const [row, kept] = await ask('open', [
        ['postgres', url],
        ['redis', 'store.example.com', 'hello'],
      ])
      assert.deepEqual([row, kept], [{ answer: 42, who: 'app' }, '+OK\r\n$5\r\nhello\r\n'])
      const [handedIn, between] = await ask('snake', [
        ['mail', 'mail.example.com', 587],
        ['mail', 'mail.example.com', 25],
      ])
      assert.equal(handedIn, '{}')
      assert.match(String(between), /^ConnectionRefusedError/)
      assert.equal(
        world.run('machine', process.execPath, ['-e', `require('net').connect(25, '${WORLD.mail}').on('connect', () => process.exit())`]),
        '',
        'it is there',
      )
    } finally {
      bridge.close()
      await server.stop()
    }
  })

  it('egress: private, link-local, metadata, carrier and documentation addresses stay shut, and every address of the host', async () => {
    const listening = world.spawn('machine', process.execPath, [
      '-e',
      `require('http').createServer((q, r) => r.end('host')).listen(7000, '::', () => console.log('x'))`,
    ])
    await new Promise((resolve) => listening.stdout?.once('data', resolve))
    const ports = [80, 7000, Number(new URL(node.ready.project.url).port)]
    const hosts = [...WORLD.shut, ...Object.values(WORLD.host), '198.18.0.1', '127.0.0.1']
    const targets = hosts.flatMap((host) => ports.map((port) => [host, port] as const))
    const probe = `Promise.all(JSON.parse(process.argv[1]).map(([host, port]) => new Promise((done) => require('net').connect(port, host).on('connect', () => done(host)).on('error', () => done(null)).setTimeout(1000, () => done(null))))).then((all) => { console.log(JSON.stringify(all)); process.exit() })`
    const fromHost = JSON.parse(world.run('machine', process.execPath, ['-e', probe, JSON.stringify(targets)])) as (string | null)[]
    for (const host of [...WORLD.shut, ...Object.values(WORLD.host)]) assert.ok(fromHost.includes(host), `${host} is there for the host itself`)
    for (const name of ['open', 'listed', 'none']) {
      const said = await ask(
        name,
        targets.map(([host, port]) => ['connect', host, port]),
      )
      for (const [i, one] of said.entries()) {
        // Inside, the platform's own port leads to the relay of the sandbox: that is no way to the host.
        if (targets[i]?.[0] === '127.0.0.1' && targets[i]?.[1] === ports[2]) continue
        assert.match(String(one), SHUT, `${name}: ${targets[i]?.join(' ')}`)
      }
    }
  })

  it('egress: no form of an address of IPv6 is a way around', async () => {
    const said = await ask('open', [
      ['connect', `::ffff:${WORLD.web}`, 80],
      ...['::ffff:10.9.0.2', '::ffff:169.254.169.254', `::ffff:${WORLD.host.outside}`, '::ffff:a09:2', 'fd00:9::1', 'fd00:9::2', 'fe80::1%eth0'].map((host) => [
        'connect',
        host,
        80,
      ]),
      // What the C library takes for an address as well: in one number, in sixteens, in eights, with parts left out.
      ...['168361986', '0x0a090002', '012.011.0.2', '10.589826', '0xa9.0xfe.43518', '0'].map((host) => ['connect', host, 80]),
      ...['64:ff9b::a09:2', '2002:a09:2::1', '2606:2800:220:1::1', 'ff02::1%eth0'].map((host) => ['connect', host, 80]),
      ['addresses'],
    ])
    assert.equal(said[0], 'connected', 'an IPv4 address in that form is one')
    for (const [i, one] of said.slice(1, -1).entries()) assert.match(String(one), SHUT, String(i))
    const own = said.at(-1) as string[]
    assert.equal(own.filter((one) => one.includes(':')).join(), '::1')
  })

  it('egress: a name that becomes private, a private name and a redirect to what is shut do not help', async () => {
    const said = await ask('open', [
      ['resolve', 'rebind.example.com'],
      ['get', 'http://rebind.example.com/'],
      ['get', 'http://inside.example.com/'],
      ['get', `http://web.example.com/redirect?to=${encodeURIComponent('http://web.example.com:8080/')}`],
      ...[WORLD.shut[0], WORLD.shut[1], WORLD.host.outside, WORLD.host.public].map((host) => [
        'get',
        `http://web.example.com/redirect?to=${encodeURIComponent(`http://${host}:80/`)}`,
      ]),
    ])
    assert.deepEqual(said[0], [WORLD.web])
    assert.match(String(said[3]), /"of":"web"/)
    for (const one of [...said.slice(1, 3), ...said.slice(4)]) assert.match(String(one), SHUT)
  })

  it('egress: one sandbox does not reach another, of its node or of the other one', async () => {
    const addressOf = async (of: RunningMayfly) => ((await ask('open', [['addresses']], of))[0] as string[]).find((one) => /^198\.1[89]\./.test(one)) as string
    const own = await addressOf(node)
    assert.deepEqual(await ask('open', [['listen'], ['connect', own, 8080]]), ['listening', 'connected'])
    await ask('open', [['listen']], second)
    const others = [own, await addressOf(second)]
    assert.notEqual(others[0], others[1])
    const said = await ask('metered', [...others.map((host) => ['connect', host, 8080]), ['connect', WORLD.web, 80]])
    assert.match(String(said[0]), SHUT)
    assert.match(String(said[1]), SHUT)
    assert.equal(said[2], 'connected')
    assert.match(String((await ask('open', [['connect', own, 8080]], second))[0]), SHUT)
  })

  it('egress none: no name and no address', async () => {
    const steps = [
      ['get', 'http://web.example.com/'],
      ['get', `http://${WORLD.web}/`],
      ['connect', WORLD.dns, 53],
      ['resolve', 'web.example.com'],
      ['text', 'long.example.com'],
    ]
    const said = await ask('none', steps)
    assert.deepEqual([said[0], said[3], said[4]], ['ENOTFOUND', 'ENOTFOUND', 'ENOTFOUND'])
    for (const one of said.slice(1, 3)) assert.match(String(one), SHUT)
    assert.deepEqual(await usageOf('none'), { egressIn: 0, egressOut: 0 })
  })

  it('egress allow-list: only what it lists, at its ports, and no address that no listed name gave', async () => {
    const said = await ask('listed', [
      ['connect', WORLD.web, 443],
      ['tls', 'api.example.com'],
      ['get', 'http://api.example.com/'],
      ['get', 'http://a.b.example.org:8080/'],
      ['get', 'http://a.b.example.org/'],
      ['redis', WORLD.store, 'hello'],
      ['connect', WORLD.store, 5432],
      ['connect', WORLD.store, 53],
      ['get', 'http://example.org:8080/'],
      ['get', 'http://web.example.com:8080/'],
      ['resolve', 'other.example.com'],
      ['text', 'long.example.com'],
      ['get', `http://api.example.com:443/redirect?to=${encodeURIComponent(`http://${WORLD.other}/`)}`],
      ['get', 'http://inside.example.com/'],
      ['resolve', 'stuffed.example.com'],
      ['connect', WORLD.other, 80],
    ])
    const open = { 1: /"of":"secure"/, 3: /"of":"web"/, 5: /hello/, 14: new RegExp(`^${WORLD.web},${WORLD.other}$`) } as Readonly<Record<number, RegExp>>
    for (const [i, one] of said.entries()) assert.match(String(one), open[i] ?? (i === 12 ? /./ : SHUT), `${i}: ${one}`)
  })

  it('egress: a function that floods takes a part of the connections that the host remembers, and others go on', async () => {
    const count = () => Number(world.run('machine', 'cat', ['/proc/sys/net/netfilter/nf_conntrack_count']))
    const [sent] = await ask('metered', [['flood', WORLD.other]])
    assert.ok(Number(sent) > 50_000, String(sent))
    const remembered = count()
    assert.ok(remembered > 500 && remembered < 30_000, String(remembered))
    assert.match(String((await ask('open', [['get', 'http://web.example.com/']]))[0]), /"of":"web"/)
  })

  it('egress: a function that asks for names without end is heard so often, by whatever policy, and others find theirs', async () => {
    const asking = Promise.all(['metered', 'listed'].map((name) => ask(name, [['names', '198.18.0.1', 20_000]])))
    assert.match(String((await ask('open', [['get', 'http://web.example.com/']]))[0]), /"of":"web"/)
    for (const [told] of await asking) {
      const [answers, seconds] = told as [number, number]
      assert.ok(answers > 0 && answers <= 1_024 + 256 * (seconds + 1), `${answers} answers in ${seconds} s`)
    }
  })

  it('egress allow-list: what is no public host is refused at deploy, with what it may be', () => {
    const probe = { 'index.js': 'exports.handler = async () => 1' }
    for (const [egress, why] of [
      [['10.0.0.1'], /egress\.0: is an address that no function reaches/],
      [['https://a.example.com'], /egress\.0: must be a host such as `api\.example\.com`/],
      ['lan', /egress: must be `none`, `internet`, or a list of hosts/],
    ] as const)
      assert.throws(() => world.mayfly(['deploy', write('wrong', probe, { egress }), '--data', node.data]), why)
  })

  it('egress is metered in bytes by function and day, each once, also when the node ends right after', async () => {
    const before = await usageOf('metered')
    const size = 300_000
    for (let i = 0; i < 3; i++) assert.deepEqual(await ask('metered', [['size', `http://web.example.com/bytes?count=${size}`]]), [size])
    await ask('metered', [['post', 'http://web.example.com/', 200_000]])
    let carried = await usageOf('metered')
    for (let i = 0; i < 100 && carried.egressOut - before.egressOut < 200_000; i++) {
      await new Promise((done) => setTimeout(done, 100))
      carried = await usageOf('metered')
    }
    const { egressIn, egressOut } = carried
    // Heads of packets, questions for names and the answers' own are counted too.
    assert.ok(egressIn - before.egressIn > 3 * size && egressIn - before.egressIn < 3.3 * size, String(egressIn - before.egressIn))
    assert.ok(egressOut - before.egressOut > 200_000 && egressOut - before.egressOut < 300_000, String(egressOut - before.egressOut))
    const secondBefore = (await usageOf('open', second)).egressIn
    await ask('open', [['size', `http://web.example.com/bytes?count=${size}`]], second)
    forget(second)
    assert.equal(await second.stop(), 0)
    second = await world.node([], second.data)
    const last = (await usageOf('open', second)).egressIn - secondBefore
    assert.ok(last > size && last < 1.1 * size, String(last))
    assert.match(world.mayfly(['usage', '--by', 'function', '--data', second.data]), /EGRESS IN +EGRESS OUT/)
  })

  it('egress: killed, a node finds what it left and makes it anew, and its neighbour is not touched', async () => {
    await ask('open', [['get', 'http://web.example.com/']], second)
    const both = world.leftovers()
    forget(second)
    await second.kill()
    assert.match(String((await ask('open', [['get', 'http://web.example.com/']]))[0]), /"of":"web"/)
    second = await world.node([], second.data)
    assert.match(String((await ask('open', [['get', 'http://web.example.com/']], second))[0]), /"of":"web"/)
    const links = (all: readonly string[]) => [...new Set(all.filter((one) => /^(mf-|mayfly_)/.test(one)))].toSorted()
    assert.deepEqual(links(world.leftovers()), links(both), 'it is the same node')
    forget(second)
    // Killed for good, and every other range is somebody's: the next node takes that one over.
    await second.kill()
    const routes = world.run('machine', 'ip', ['route', 'show'])
    const ranges = Array.from({ length: 31 }, (_, i) => `198.${18 + ((i + 1) >> 4)}.${((i + 1) % 16) * 16}.0/20`)
    const free = ranges.filter((range) => !routes.includes(range))
    // Each process of a node has one.
    assert.equal(free.length, 31 - 2 * PROCESSES)
    for (const range of free) world.run('machine', 'ip', ['route', 'add', 'blackhole', range])
    const third = await world.node()
    assert.ok(third.ready.sandbox.limits.includes('egress'), third.stderr().slice(-2000))
    assert.equal(links(world.leftovers()).length, 4 * PROCESSES)
    await third.stop()
    for (const range of free) world.run('machine', 'ip', ['route', 'del', range])
    assert.match(String((await ask('open', [['get', 'http://web.example.com/']]))[0]), /"of":"web"/)
    assert.equal(links(world.leftovers()).length, 2 * PROCESSES)
    assert.deepEqual(forwarding(), ['0', '1', '0'], 'only the way out is a router')
  })

  it('egress: where a node cannot make networks it says so, in doctor and at each deploy that needs one', async () => {
    const under = (mount: string) => ['-m', '--propagation', 'slave', 'sh', '-c', `mount ${mount}; exec "$@"`, 'sh', process.execPath]
    const bin = path.join(ROOT, 'bin', 'mayfly.js')
    const doctorBy = (program: string, args: readonly string[]) =>
      JSON.parse(world.run('machine', program, [...args, bin, 'doctor', '--json', '--data', path.join(world.folder, 'nothing')])) as {
        ok: boolean
        limits: string[]
        missing: { what: string; why: string; todo: string }[]
      }
    const doctor = doctorBy('unshare', under('--bind /dev/null /usr/sbin/nft'))
    const gap = doctor.missing.find(({ what }) => what === 'egress')
    assert.ok(doctor.ok && !doctor.limits.includes('egress'))
    assert.match(`${gap?.why} ${gap?.todo}`, /nftables is not installed.*npm run setup/)
    assert.ok(node.ready.sandbox.limits.includes('egress'))
    world.run('machine', 'nft', ['add table ip filter; add chain ip filter FORWARD { type filter hook forward priority filter; policy drop; }'])
    const doubting = doctorBy(process.execPath, [])
    world.run('machine', 'nft', ['delete table ip filter'])
    const doubt = doubting.missing.find(({ what }) => what === 'egress through ip filter FORWARD')
    assert.ok(doubting.limits.includes('egress'))
    assert.match(String(doubt?.todo), /`nft insert rule ip filter FORWARD iifname "mf-\*" accept`/)
    const bare = await world.node([], path.join(world.folder, 'bare'), ['unshare', ...under('-t tmpfs -o ro none /run/netns')])
    try {
      const deploy = (name: string) =>
        world.run('machine', 'sh', ['-c', 'exec "$@" 2>&1', 'sh', process.execPath, bin, 'deploy', path.join(world.folder, name), '--data', bare.data])
      assert.match(deploy('open'), /egress: functions have no network on this node: this machine let no network be made for functions/)
      assert.doesNotMatch(deploy('none'), /egress:/)
      const unreached = await ask(
        'open',
        [
          ['get', 'http://web.example.com/'],
          ['connect', WORLD.web, 80],
        ],
        bare,
      )
      assert.deepEqual(unreached, ['EAI_AGAIN', 'ENETUNREACH'])
    } finally {
      forget(bare)
      await bare.stop()
    }
  })

  it('egress: a stop leaves nothing of it on the machine', async () => {
    assert.match(readFileSync('/proc/self/mountinfo', 'utf8'), /mayfly-net-/)
    forget(node)
    assert.equal(await node.stop(), 0)
    assert.deepEqual(world.leftovers(), [])
    assert.deepEqual(forwarding(), ['0', '0', '0'])
  })
})
