import { promises as fs } from 'node:fs'
import path from 'node:path'

const CONF = '/proc/sys/net/ipv4/conf'
/** All Mayfly nodes of a machine name their links so. */
export const LINK_PREFIX = 'mf-'

/**
 * Lets the kernel carry packets between the link of sandboxes and the interfaces that lead outside; nothing else of the
 * host becomes a router. What a Mayfly turned on is written down, so that the last one to stop turns it off again,
 * whoever it was that did it.
 */
export class Forwarding {
  readonly #runBase: string
  readonly #guard: (interfaces: readonly string[]) => Promise<void>
  #guarded = ''

  /** @param guard  told the interfaces into which strangers may now send what is not for this host: it keeps that out */
  constructor(runBase: string, guard: (interfaces: readonly string[]) => Promise<void>) {
    this.#runBase = runBase
    this.#guard = guard
  }

  /** Looks where the way out leads now. */
  async keep(link: string): Promise<void> {
    await write(link, '1')
    const ours = new Set(await this.#noted())
    for (const name of await waysOut()) {
      if ((await read(name)) !== '0') continue
      await write(name, '1')
      ours.add(name)
    }
    await this.#note([...ours])
    // Where all of the host is a router already, that was somebody's wish.
    const guarded = (await read('all')) === '0' ? [...ours].toSorted() : []
    if (this.#guarded === guarded.join()) return
    await this.#guard(guarded)
    this.#guarded = guarded.join()
  }

  /** When the link is gone. */
  async leave(): Promise<void> {
    const others = (await fs.readdir(CONF).catch(() => [])).some((name) => name.startsWith(LINK_PREFIX))
    if (others) return
    if ((await read('all')) === '0') for (const name of await this.#noted()) await write(name, '0')
    await fs.rm(await this.#file(), { force: true })
  }

  /** Of this network namespace: names of interfaces mean nothing in another. */
  async #file(): Promise<string> {
    const [, id = ''] = /\[(\d+)\]/.exec(await fs.readlink('/proc/self/ns/net')) ?? []
    return path.join(this.#runBase, `mayfly-forwarding-${id}`)
  }

  async #noted(): Promise<string[]> {
    const text = await fs.readFile(await this.#file(), 'utf8').catch(() => '')
    return text.split('\n').filter((name) => /^[^\s/]{1,15}$/.test(name))
  }

  async #note(names: readonly string[]): Promise<void> {
    if (names.length > 0) await fs.writeFile(await this.#file(), names.join('\n'), { mode: 0o600 })
  }
}

const read = async (name: string) => (await fs.readFile(path.join(CONF, name, 'forwarding'), 'utf8').catch(() => '')).trim()
const write = (name: string, value: '0' | '1') => fs.writeFile(path.join(CONF, name, 'forwarding'), value).catch(() => {})

/** The interfaces of default routes, as the kernel lists them: name, destination, …, mask. */
async function waysOut(): Promise<string[]> {
  const rows = (await fs.readFile('/proc/net/route', 'utf8').catch(() => '')).split('\n').map((line) => line.split('\t'))
  return [...new Set(rows.filter(([, destination, , , , , , mask]) => destination === '00000000' && mask === '00000000').map(([name]) => name as string))]
}
