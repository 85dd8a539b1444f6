import { type Broadcast, broadcastAsText, encodeBroadcast, type Version } from './frames.ts'
import { Presence, type PresenceDiff } from './presence.ts'

/** One socket's place in one channel. */
export interface Member {
  readonly version: Version
  readonly wantsPresence: boolean
  send(frame: string | Buffer): void
  sendEvent(event: string, payload: unknown): void
}

/** A channel as the project knows it; a public and a private one of the same topic have nothing in common. */
export interface ChannelName {
  readonly project: string
  readonly topic: string
  readonly isPrivate: boolean
}

interface Channel {
  readonly members: Set<Member>
  readonly presence: Presence
}

const keyOf = ({ project, topic, isPrivate }: ChannelName) => `${project}/${isPrivate ? 'private' : 'public'}/${topic}`

/** The channels of this node that have members. */
export class Channels {
  readonly #channels = new Map<string, Channel>()
  #members = 0
  #delivered = 0

  /** Members of all channels together. */
  get members(): number {
    return this.#members
  }
  /** Broadcasts, each counted once for every member it went to. */
  get delivered(): number {
    return this.#delivered
  }

  join(name: ChannelName, member: Member): void {
    const key = keyOf(name)
    let channel = this.#channels.get(key)
    if (!channel) {
      channel = { members: new Set(), presence: new Presence() }
      this.#channels.set(key, channel)
    }
    channel.members.add(member)
    this.#members++
  }

  leave(name: ChannelName, member: Member): void {
    const key = keyOf(name)
    const channel = this.#channels.get(key)
    if (!channel?.members.delete(member)) return
    this.#members--
    this.#tell(channel, channel.presence.untrack(member))
    if (channel.members.size === 0) this.#channels.delete(key)
  }

  /** @param except  who gets none: its sender, who did not ask to hear itself */
  broadcast(name: ChannelName, broadcast: Broadcast, except: Member | null): void {
    const channel = this.#channels.get(keyOf(name))
    if (!channel) return
    const frames = new Map<Version, string | Buffer | null>()
    for (const member of channel.members) {
      if (member === except) continue
      let frame = frames.get(member.version)
      if (frame === undefined) {
        frame = (member.version === '2.0.0' ? encodeBroadcast(broadcast) : null) ?? broadcastAsText(member.version, broadcast)
        frames.set(member.version, frame)
      }
      if (frame === null) continue
      member.send(frame)
      this.#delivered++
    }
  }

  track(name: ChannelName, member: Member, key: string, payload: Readonly<Record<string, unknown>>): void {
    const channel = this.#channels.get(keyOf(name))
    if (channel?.members.has(member)) this.#tell(channel, channel.presence.track(member, key, payload))
  }

  untrack(name: ChannelName, member: Member): void {
    const channel = this.#channels.get(keyOf(name))
    if (channel) this.#tell(channel, channel.presence.untrack(member))
  }

  presenceOf(name: ChannelName): Presence['state'] {
    return this.#channels.get(keyOf(name))?.presence.state ?? {}
  }

  #tell(channel: Channel, diff: PresenceDiff | null): void {
    if (diff) for (const member of channel.members) if (member.wantsPresence) member.sendEvent('presence_diff', diff)
  }
}
