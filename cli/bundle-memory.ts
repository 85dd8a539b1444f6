import { homedir } from 'node:os'
import path from 'node:path'
import { BundleMemory } from '../client/bundle-memory.ts'

const { env } = process

/** What this user has bundled before. */
export const bundleMemory = (): BundleMemory => new BundleMemory(path.join(env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'mayfly', 'bundles'))
