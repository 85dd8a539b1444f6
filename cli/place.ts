import { homedir } from 'node:os'
import { Client } from '../client/client.ts'
import { ask } from '../client/http.ts'
import { projectOfToken } from '../client/tokens.ts'
import { profileFor } from './profiles.ts'
import { findNode, type FoundNode, stateFolderOf } from '../client/nodes.ts'

/** What every command says of where it goes. */
export interface Common {
  readonly url?: string
  readonly key?: string
  readonly data?: string
  readonly project?: string
  readonly profile?: string
  readonly json?: boolean
}

const { env } = process

/**
 * The node that is meant: by address and key, by a profile, by a data directory, else the profile that was signed in to
 * last, else the node of this machine.
 * @throws NoNodeError, HalfAddressError, UsageError
 */
export function locate(options: Common): FoundNode {
  const project = options.project ?? env.MAYFLY_PROJECT ?? null
  const url = options.url ?? (options.profile === undefined ? env.MAYFLY_URL : undefined) ?? null
  const key = options.key ?? (options.profile === undefined ? (env.MAYFLY_KEY ?? env.MAYFLY_TOKEN) : undefined) ?? null
  const profile = url === null && key === null && options.data === undefined ? profileFor(options.profile) : null
  if (profile) return { url: profile.url, key: profile.key, project: project ?? profile.project, run: null }
  return findNode({
    url,
    key,
    data: options.data ?? null,
    project: project ?? (key === null ? null : projectOfToken(key)),
    stateFolder: stateFolderOf(env, homedir()),
  })
}

export const clientOf = (node: FoundNode): Client => new Client(node.url, node.key, ask)

export const at = (options: Common): { readonly client: Client; readonly project: string } => {
  const node = locate(options)
  return { client: clientOf(node), project: node.project }
}
