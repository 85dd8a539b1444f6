import { enableCompileCache, flushCompileCache } from 'node:module'
import path from 'node:path'

enableCompileCache(path.join(import.meta.dirname, '..', 'node_modules', '.cache', 'mayfly'))
// A node runs for long and may end by a kill.
setTimeout(flushCompileCache, 5_000).unref()
