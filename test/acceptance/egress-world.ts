import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import path from 'node:path'
import { makeFolder, ROOT, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

const BIN = path.join(ROOT, 'bin', 'mayfly.js')

/** Addresses of the internet of these tests: real ones by their form, routed nowhere but in its own namespace. */
export const WORLD = {
  web: '93.184.216.34',
  mail: '93.184.216.35',
  store: '93.184.216.36',
  /** Answers too, and stands in no list. */
  other: '93.184.216.99',
  /** What is behind these answers as well, and must never be reached. */
  shut: [
    '10.9.0.2',
    '169.254.169.254',
    '168.63.129.16',
    '100.64.0.9',
    '100.100.100.200',
    '192.0.0.192',
    '172.16.0.9',
    '192.168.1.9',
    '198.51.100.9',
    '192.0.2.9',
  ],
  /** Of the machine that the node runs on: to the outside, to a private network, and one that looks public. */
  host: { outside: '192.168.77.2', inside: '10.9.0.1', public: '93.184.217.1' },
  dns: '93.184.216.36',
} as const

/**
 * A machine for the node and an internet for that, each a network namespace: whatever the node does to its machine's
 * network, the one that runs the tests does not see.
 */
export class EgressWorld implements AsyncDisposable {
  readonly folder = makeFolder()
  readonly #machine: string
  readonly #internet: string
  readonly #children: ChildProcess[] = []
  readonly #doors: Server[] = []
  #nodes = 0

  private constructor(name: string) {
    this.#machine = `${name}-m`
    this.#internet = `${name}-i`
  }

  static async open(name: string): Promise<EgressWorld> {
    const world = new EgressWorld(`mfw${process.pid}${name}`)
    try {
      await world.#open()
      return world
    } catch (error) {
      await world[Symbol.asyncDispose]()
      throw error
    }
  }

  async #open(): Promise<void> {
    const { web, mail, store, other, shut, host } = WORLD
    const batch = (text: string, ...args: string[]) => execFileSync('ip', [...args, '-batch', '-'], { input: text })
    batch(`netns add ${this.#machine}\nnetns add ${this.#internet}\n`)
    batch(
      `link set lo up
link add eth0 type veth peer name eth0 netns ${this.#internet}
link add eth1 type veth peer name eth1 netns ${this.#internet}
addr add ${host.outside}/24 dev eth0
addr add ${host.inside}/24 dev eth1
addr add ${host.public}/32 dev lo
addr add fd00:9::1/64 dev eth1 nodad
link set eth0 up
link set eth1 up
route add default via 192.168.77.1 dev eth0
`,
      '-n',
      this.#machine,
    )
    batch(
      `link set lo up
addr add 192.168.77.1/24 dev eth0
addr add 10.9.0.2/24 dev eth1
addr add fd00:9::2/64 dev eth1 nodad
link set eth0 up
link set eth1 up
${[web, mail, store, other, ...shut.filter((one) => one !== '10.9.0.2')].map((address) => `addr add ${address}/32 dev lo`).join('\n')}
`,
      '-n',
      this.#internet,
    )
    const [keyFile, certFile] = ['key.pem', 'cert.pem'].map((name) => path.join(this.folder, name)) as [string, string]
    const subject = ['-subj', '/CN=web.example.com', '-addext', 'subjectAltName=DNS:web.example.com,DNS:api.example.com']
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', keyFile, '-out', certFile, '-days', '1', ...subject], {
      stdio: 'pipe',
    })
    const given = { ...WORLD, keyFile, certFile, databaseSocket: this.databaseSocket }
    const servers = this.spawn('internet', process.execPath, [path.join(import.meta.dirname, 'egress-servers.ts'), JSON.stringify(given)])
    await once(servers.stdout as NodeJS.ReadableStream, 'data')
  }

  /** Where a PostgreSQL of the internet is looked for. */
  get databaseSocket(): string {
    return path.join(this.folder, 'postgres.sock')
  }

  /** Runs a program in one of the namespaces until the end of the world. */
  spawn(where: 'machine' | 'internet', program: string, args: readonly string[]): ChildProcess {
    const child = spawn('nsenter', [`--net=${this.#file(where)}`, program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#children.push(child)
    return child
  }

  /** Runs a program in one of the namespaces to its end. @returns what it wrote */
  run(where: 'machine' | 'internet', program: string, args: readonly string[]): string {
    return execFileSync('nsenter', [`--net=${this.#file(where)}`, program, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  }

  /** The command line, on that machine. */
  mayfly(args: readonly string[]): string {
    return this.run('machine', process.execPath, [BIN, ...args])
  }

  /** A node on that machine, and an address by which these tests reach its API from theirs. */
  async node(
    args: readonly string[] = [],
    data = path.join(this.folder, `data${++this.#nodes}`),
    through: readonly string[] = [process.execPath],
  ): Promise<RunningMayfly> {
    const command = ['nsenter', `--net=${this.#file('machine')}`, ...through, BIN, 'up']
    const node = await startMayfly(data, ['--empty', '--egress-dns', WORLD.dns, ...args], {}, { command, fromNothing: through.length > 1 })
    const url = `http://127.0.0.1:${await this.#door(Number(new URL(node.ready.url).port))}`
    return { ...node, ready: { ...node.ready, url } }
  }

  /** What of a node's networks is left on the machine. */
  leftovers(): string[] {
    const links = this.run('machine', 'ip', ['-o', 'link']).match(/mf-[0-9a-f]+/g) ?? []
    const tables = this.run('machine', 'nft', ['list', 'tables']).match(/mayfly_\w+/g) ?? []
    const spaces = readdirSync('/run/netns').filter((name) => links.some((link) => name.includes(link.slice(3))))
    return [...links, ...tables, ...spaces]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const door of this.#doors) door.close()
    for (const child of this.#children) child.kill('SIGKILL')
    for (const name of [this.#machine, this.#internet]) execFileSync('ip', ['-force', '-batch', '-'], { input: `netns del ${name}\n`, stdio: 'pipe' })
    removeFolder(this.folder)
  }

  #file(where: 'machine' | 'internet'): string {
    return `/run/netns/${where === 'machine' ? this.#machine : this.#internet}`
  }

  /** A loopback port of this namespace that leads to one of that machine: a socket in the file system belongs to both. */
  async #door(port: number): Promise<number> {
    const file = path.join(this.folder, `door${this.#doors.length}.sock`)
    const bridge = `const net = require('node:net')
net.createServer((a) => { const b = net.connect(${port}, '127.0.0.1'); for (const s of [a, b]) s.on('error', () => { a.destroy(); b.destroy() }); a.pipe(b).pipe(a) }).listen(${JSON.stringify(file)}, () => console.log('open'))`
    await once(this.spawn('machine', process.execPath, ['-e', bridge]).stdout as NodeJS.ReadableStream, 'data')
    const door = createServer((near: Socket) => {
      const far = connect(file)
      const end = () => {
        near.destroy()
        far.destroy()
      }
      for (const one of [near, far]) one.on('error', end)
      near.pipe(far).pipe(near)
    })
    this.#doors.push(door)
    door.listen(0, '127.0.0.1').unref()
    await once(door, 'listening')
    return (door.address() as { port: number }).port
  }
}
