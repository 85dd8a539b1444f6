import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { promises as fs } from 'node:fs'
import type { Readable } from 'node:stream'
import { type Share, sharesFor } from './addresses.ts'
import { socketsInside } from './handed-sockets.ts'
import { hostRanges, ROUTES_FILE } from './host-addresses.ts'
import { Links, ROUTES } from './links.ts'
import { PATH, run, type Starter } from './programs.ts'
import type { Router } from './router.ts'
import { GATEWAY, hostIs, paceFor, routerRules, WAY_OUT } from './rules.ts'

const LIMIT_MS = 20_000
const MAX_COMPLAINT = 500
/** As much as one packet of the way out holds: each is read and written by a program. */
const MTU = 65_520
/** Connections that are remembered: each is a socket of one program here. */
const CONNECTIONS = 65_536
/** In it the way out has its addresses, which no sandbox reaches. */
const WAY_OUT_RANGE = '10.0.2.0/24'
/**
 * Holds the namespaces for as long as its input is open, which is as long as the node lives. What programs put below `/run`
 * nobody sees but who enters.
 */
const HOLDER = `set -e
mount -t tmpfs -o nosuid,nodev,noexec,mode=755,size=1m mayfly /run
mkdir /run/netns /run/sys
mount -t sysfs -o nosuid,nodev,noexec mayfly /run/sys
ip link set lo up
ip addr add ${GATEWAY}/32 dev lo
${ROUTES}
echo ready
exec cat > /dev/null`

/**
 * That of an ordinary user: a namespace in which that user is root, with no link to the host's network. `slirp4netns` reads what is
 * sent out there, and connects for it as any program of the user would; so the host's rules need nothing, and cannot
 * tell a sandbox from the user.
 */
export class OwnRouter implements Router {
  /** Addresses of the host come and go. */
  readonly keepMs = 1_000
  readonly #tag: string
  readonly #start: Starter | undefined
  #links: Links | null = null
  #holder: ChildProcess | null = null
  #wayOut: ChildProcess | null = null
  #known = ''
  #isClosed = false

  constructor(tag: string, start?: Starter) {
    this.#start = start
    this.#tag = tag
  }

  get links(): Links {
    if (this.#links === null) throw new Error('the router is not open')
    return this.#links
  }

  async open() {
    const [share] = sharesFor(this.#tag) as [Share]
    await fs.access('/dev/net/tun', fs.constants.R_OK | fs.constants.W_OK)
    const pid = await this.#hold()
    this.#links = new Links({
      name: 'sandbox',
      namespaces: `/proc/${pid}/root/run/netns`,
      devices: `/proc/${pid}/root/run/sys/class/net`,
      entrance: ['--preserve-credentials', `--user=/proc/${pid}/ns/user`],
      mtu: MTU,
      inside: (command, input) => this.#inside(command, input),
    })
    await this.#inside(['nft', '-f', '-'], routerRules(paceFor(CONNECTIONS), null))
    const names = await socketsInside(this.#entrance, { address: GATEWAY, port: 53 })
    try {
      await this.keep()
      return { share, names, doubts: [] }
    } catch (error) {
      names.udp.close()
      names.tcp.close()
      throw error
    }
  }

  /** Where the addresses of the host cannot be told, there is no way out until they can. */
  async keep(): Promise<void> {
    try {
      const ranges = hostRanges(await fs.readFile(ROUTES_FILE, 'latin1'))
      if (this.#known !== ranges.join()) {
        await this.#inside(['nft', '-f', '-'], hostIs(ranges))
        this.#known = ranges.join()
      }
    } catch (error) {
      this.#wayOut?.kill('SIGKILL')
      throw error
    }
    const { exitCode, signalCode } = this.#wayOut ?? { exitCode: 0, signalCode: null }
    if ((exitCode !== null || signalCode !== null) && !this.#isClosed) await this.#connect()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const child of [this.#wayOut, this.#holder]) {
      if (!child || child.exitCode !== null || child.signalCode !== null) continue
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    }
  }

  async #hold(): Promise<number> {
    const holder = spawn('unshare', ['--user', '--map-root-user', '--net', '--mount', 'sh', '-c', HOLDER], {
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: '/',
      // A Ctrl-C is for the node.
      detached: true,
      env: { PATH },
    })
    this.#holder = holder
    holder.stdin.on('error', () => {})
    await told(holder, holder.stdout, 'unshare')
    return holder.pid as number
  }

  async #connect(): Promise<void> {
    const guards = ['--disable-host-loopback', '--disable-dns', '--enable-sandbox', '--enable-seccomp']
    const ways = ['--configure', `--mtu=${MTU}`, `--cidr=${WAY_OUT_RANGE}`, '--exit-fd=3', '--ready-fd=4', String(this.#holder?.pid), WAY_OUT]
    const wayOut = spawn('slirp4netns', [...guards, ...ways], { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'], cwd: '/', detached: true, env: { PATH } })
    this.#wayOut = wayOut
    // It ends when the other end of the first is closed, as ours is when the node ends, however that is.
    const [, , , , ready] = wayOut.stdio as unknown as Readable[]
    for (const one of wayOut.stdio) one?.on('error', () => {})
    await told(wayOut, ready as Readable, 'slirp4netns')
  }

  get #entrance(): string[] {
    const { pid, exitCode, signalCode } = this.#holder ?? {}
    if (pid === undefined || exitCode !== null || signalCode !== null) throw new Error('the process that holds the networks of sandboxes has ended')
    return ['--target', String(pid), '--user', '--net', '--mount', '--preserve-credentials']
  }

  #inside(command: readonly string[], input: string): Promise<string> {
    return run('nsenter', [...this.#entrance, ...command], input, this.#start)
  }
}

/** Resolves at the first word of a program that goes on. @throws Error with what it complained of before */
async function told(child: ChildProcess, from: Readable, name: string): Promise<void> {
  let complaint = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-MAX_COMPLAINT)
  })
  const late = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
  try {
    await new Promise<void>((resolve, reject) => {
      from.once('data', () => resolve())
      child.once('error', reject)
      child.once('close', (code, signal) => reject(new Error(`${name}: ${complaint.trim() || (signal ?? `exit code ${code}`)}`)))
    })
  } finally {
    clearTimeout(late)
  }
}
