import type { Databases } from './backends/database/database.ts'
import type { PausingDeps } from './core/pausing.ts'
import type { ProjectRef } from './core/project.ts'
import type { Data } from './data/index.ts'
import type { Door } from './door/index.ts'
import type { FunctionRoom } from './function-room.ts'
import type { Queue } from './invoke/index.ts'
import type { Realtime } from './realtime/index.ts'
import type { Sandboxes } from './sandbox/index.ts'
import type { Triggers } from './triggers/index.ts'
import type { Workforce } from './workforce.ts'

export interface RestingRooms {
  readonly places: Databases
  readonly room: FunctionRoom
  readonly sandboxes: Sandboxes
  readonly workforce: Workforce | null
  readonly realtime: Realtime
  readonly door: Door
  readonly tables: Data
  readonly triggers: Triggers
  readonly queue: Queue
}

/** What the rooms hold of a project, and how they let go of it. */
export function restOf(rooms: RestingRooms): Pick<PausingDeps, 'stop' | 'running' | 'letGo' | 'seal' | 'keptBy' | 'heldBy'> {
  const { places, room, sandboxes, workforce, realtime, door, tables, triggers, queue } = rooms
  const isExternal = places.kind.startsWith('external')
  const provisioned = async (ref: ProjectRef) => ((await room.concurrency.hasProvisioned(ref)) ? 'sandboxes of its functions are provisioned' : null)
  return {
    stop: (ref) => places.pauseProject(ref),
    running: async () => (isExternal ? null : new Set((await places.status()).filter((place) => place.running).map(({ place }) => place))),
    letGo: async ({ ref }) => {
      door.end(ref, 'all')
      await realtime.dropProject(ref, 'the project is paused')
      sandboxes.rest(ref)
      await workforce?.rest(ref)
      await tables.dropProject(ref)
      await triggers.settle(ref)
    },
    seal: ({ ref }) => triggers.seal(ref, () => places.projectConnection(ref)),
    heldBy: (project) => provisioned(project.ref),
    keptBy: async (project) => {
      const { ref } = project
      const sockets = realtime.connectedTo(ref)
      if (sockets > 0) return `${sockets} realtime sockets are open`
      const sessions = door.connectedTo(ref)
      if (sessions > 0) return `${sessions} PostgreSQL clients are connected`
      const { waiting, running } = await queue.entriesOf(ref, 0)
      if (waiting + running > 0) return `${waiting + running} entries are in its queue`
      return await provisioned(project.ref)
    },
  }
}
