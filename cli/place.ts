import { homedir } from 'node:os'
import { Client } from '../client/client.ts'
import { findNode, type FoundNode, stateFolderOf } from '../client/nodes.ts'

/** What every command says of where it goes. */
export interface Common {
  readonly url?: string
  readonly key?: string
  readonly data?: string
  readonly project?: string
  readonly json?: boolean
}

const { env } = process

/** The node that the options name. @throws NoNodeError, HalfAddressError */
export const locate = (options: Common): FoundNode =>
  findNode({
    url: options.url ?? env.MAYFLY_URL ?? null,
    key: options.key ?? env.MAYFLY_KEY ?? null,
    data: options.data ?? null,
    project: options.project ?? env.MAYFLY_PROJECT ?? null,
    stateFolder: stateFolderOf(env, homedir()),
  })

export const clientOf = (node: FoundNode): Client => new Client(node.url, node.key)

export const at = (options: Common): { readonly client: Client; readonly project: string } => {
  const node = locate(options)
  return { client: clientOf(node), project: node.project }
}
