import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync } from 'node:fs'
import path from 'node:path'

/** A public address by its form, which leads to the recorder and nowhere else: what a sandbox may reach. */
const RECORDER = '93.184.216.40'
const PORT = 9_100

/** What a run has of its machine. */
export interface World {
  /** Where functions tell what they do. */
  readonly recorder: { readonly host: string; readonly port: number }
  /** Why functions are not kept apart here, or null where they are. */
  readonly withoutSandbox: string | null
}

const can = (program: string, ...args: string[]): boolean => {
  try {
    execFileSync(program, args, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/**
 * A sandbox reaches no address of its machine. So the run goes on in a network namespace of its own, and the recorder
 * stands in another one, behind an address that looks public. Both are gone when `within` ends.
 * @param within  a program and its arguments that runs in the first, given the path of the second
 * @returns its exit code; null where this machine makes no such thing
 */
export async function inWorld(within: (outside: string) => readonly string[]): Promise<number | null> {
  if (process.getuid?.() !== 0 || !can('ip', '-V') || !can('nsenter', '--version')) return null
  const [inner, outer] = [`mff${process.pid}m`, `mff${process.pid}i`]
  const batch = (text: string, ...args: string[]) => execFileSync('ip', [...args, '-batch', '-'], { input: text, stdio: ['pipe', 'ignore', 'pipe'] })
  try {
    batch(`netns add ${inner}\nnetns add ${outer}\n`)
    batch(
      `link set lo up
link add eth0 type veth peer name eth0 netns ${outer}
addr add 192.168.78.2/24 dev eth0
link set eth0 up
route add default via 192.168.78.1 dev eth0
`,
      '-n',
      inner,
    )
    batch(
      `link set lo up
addr add 192.168.78.1/24 dev eth0
addr add ${RECORDER}/32 dev lo
link set eth0 up
`,
      '-n',
      outer,
    )
    const child = spawn('nsenter', [`--net=/run/netns/${inner}`, ...within(`/run/netns/${outer}`)], { stdio: 'inherit' })
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
    const [code] = (await once(child, 'exit')) as [number | null]
    return code ?? 1
  } finally {
    for (const name of [inner, outer]) can('ip', 'netns', 'del', name)
  }
}

/** Starts the recorder. @param outside  the network namespace that it stands in, null for this one */
export async function startRecorder(file: string, outside: string | null): Promise<{ world: World; child: ChildProcess }> {
  const program = path.join(import.meta.dirname, 'recorder.ts')
  const child =
    outside === null
      ? spawn(process.execPath, [program, file, '127.0.0.1', '0'], { stdio: ['ignore', 'pipe', 'inherit'] })
      : spawn('nsenter', [`--net=${outside}`, process.execPath, program, file, RECORDER, String(PORT)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [said] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
  const world: World =
    outside === null
      ? { recorder: { host: '127.0.0.1', port: Number(said) }, withoutSandbox: 'network namespaces are made by root, with iproute2 and util-linux' }
      : { recorder: { host: RECORDER, port: PORT }, withoutSandbox: null }
  return { world, child }
}

/** A file system of its own for the data directory: it can be filled, and what was not synced is not in its image. */
export class Disk {
  readonly #folder: string
  #image: string
  #copies = 0
  readonly at: string

  private constructor(folder: string, at: string, image: string) {
    this.#folder = folder
    this.at = at
    this.#image = image
  }

  /** @returns in a text why there is none */
  static make(folder: string, megabytes: number): Disk | string {
    if (process.getuid?.() !== 0) return 'a file system is mounted by root'
    const [image, at] = [path.join(folder, 'disk0.img'), path.join(folder, 'disk')]
    mkdirSync(at, { recursive: true })
    if (!can('truncate', '-s', `${megabytes}M`, image) || !can('mkfs.ext4', '-q', '-F', image)) return 'needs mkfs.ext4'
    const disk = new Disk(folder, at, image)
    return disk.#mount() ? disk : 'needs loop devices'
  }

  /**
   * The power goes: what was not synced is dropped. Everything that uses it must stand still.
   * @param stop  ends all of it, once the image is taken
   */
  async cutPower(stop: () => Promise<void>): Promise<void> {
    const cut = path.join(this.#folder, `disk${++this.#copies}.img`)
    execFileSync('cp', ['--sparse=always', this.#image, cut])
    await stop()
    this.unmount()
    execFileSync('rm', ['-f', this.#image])
    this.#image = cut
    if (!this.#mount()) throw new Error('the image of the disk cannot be mounted')
  }

  /** What was made or removed in it is so on its image too: an unsynced removal comes back with the power. */
  sync(): void {
    const folder = openSync(this.at, 'r')
    try {
      fsyncSync(folder)
    } finally {
      closeSync(folder)
    }
  }

  unmount(): void {
    if (existsSync(this.at)) can('umount', '-l', this.at)
  }

  /** Nothing is written back by itself for minutes: what is on the image was synced. */
  #mount(): boolean {
    return can('mount', '-o', 'loop,commit=300', this.#image, this.at)
  }
}
