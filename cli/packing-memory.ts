import { homedir } from 'node:os'
import path from 'node:path'
import { ArchiveMemory } from '../client/archive-memory.ts'
import { BundleMemory } from '../client/bundle-memory.ts'

const { env } = process
const folder = (name: string) => path.join(env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'mayfly', name)

/** What this user has packed before. */
export const archiveMemory = (): ArchiveMemory => new ArchiveMemory(folder('archives'))

/** And has bundled. */
export const packingMemory = () => ({ bundler: new BundleMemory(folder('bundles')), archiver: archiveMemory() })
