import { accessSync, constants, existsSync, readFileSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { availableParallelism, homedir } from 'node:os'
import path from 'node:path'
import pino from 'pino'
import { stateFolderOf } from '../client/nodes.ts'
import { WiredBus } from './backends/bus/wired.ts'
import { crashAt } from './core/crash.ts'
import type { Host } from './host.ts'
import { type Clock, skewed, systemClock } from './lib/clock.ts'
import { growByAsMuchAgain } from './lib/heap.ts'
import { uuidv7 } from './lib/ids.ts'
import { LogLines } from './log-lines.ts'
import type { Boot } from './workforce.ts'

// Other users run what lies in our folders (functions, PostgreSQL), and none but ours writes there. What is secret says so itself.
process.umask(0o022)
const root = path.resolve(import.meta.dirname, '..')
const [command = 'up', ...args] = process.argv.slice(2)

// Only of tests: a file that says by how many ms the wall time of this node is wrong.
const skewFile = process.env.MAYFLY_TEST_CLOCK
const clock: Clock = skewFile === undefined ? systemClock : skewed(systemClock, () => (existsSync(skewFile) ? Number(readFileSync(skewFile, 'utf8')) : 0))

/** Of a container whose root is there to be read alone, only `/tmp` is left. */
function runBaseOf(asRoot: boolean): string {
  try {
    const own = asRoot ? '/run' : (process.env.XDG_RUNTIME_DIR ?? '/tmp')
    accessSync(own, constants.W_OK)
    return own
  } catch {
    return '/tmp'
  }
}

function hostOf(logLevel: string, bindings: Readonly<Record<string, unknown>> | null = null): Host {
  const lines = new LogLines(2)
  process.on('exit', () => lines.end())
  const log = pino({ level: logLevel, base: bindings, timestamp: pino.stdTimeFunctions.isoTime }, lines)
  const asRoot = process.getuid?.() === 0
  const { SUDO_UID: uid, SUDO_GID: gid } = process.env
  return {
    clock,
    log: {
      debug: (fields, message) => log.debug(fields, message),
      info: (fields, message) => log.info(fields, message),
      warn: (fields, message) => log.warn(fields, message),
      error: (fields, message) => log.error(fields, message),
    },
    newId: () => uuidv7(clock.now()),
    root,
    version: (JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }).version,
    runBase: runBaseOf(asRoot),
    stateFolder: stateFolderOf(process.env, homedir()),
    cores: availableParallelism(),
    workerCommand: (worker) => [process.execPath, ...process.execArgv, process.argv[1] as string, 'worker', String(worker)],
    crash: crashAt(
      process.env.MAYFLY_TEST_CRASH_AT,
      (point) => {
        writeSync(2, `crash point ${point}\n`)
        process.kill(process.pid, 'SIGKILL')
      },
      (file) => (existsSync(file) ? readFileSync(file, 'utf8') : null),
    ),
    owner: asRoot && uid && gid ? { uid: Number(uid), gid: Number(gid) } : null,
  }
}

/** A process that a node started beside itself, with one end of a pair of sockets as its descriptor 3. */
async function worker(): Promise<number> {
  const number = Number(args[0])
  // It is loaded while the database starts.
  const loaded = import('./worker.ts')
  // The main process says when it is to end. What a terminal sends to all is for that one.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => {})
  const bus = WiredBus.spoke(new Socket({ fd: 3 }), () => process.exit(1))
  // It is answered when the database is there; when the main process ends this one does.
  const boot = (await bus.request('worker.boot', number, new AbortController().signal)) as unknown as Boot
  const { RunningWorker } = await loaded
  const running = await RunningWorker.start(boot, hostOf(boot.config.node.logLevel, { worker: number }), bus)
  growByAsMuchAgain()
  await running.ended
  await running[Symbol.asyncDispose]()
  process.exit(0)
}

// A disk that is full, a reader that left: no reason to end.
process.stderr.on('error', () => {})
// What a worker has no use for is a fourth of the modules that there are: it does not load it.
if (command === 'worker') await worker()
else {
  const { run } = await import('./commands.ts')
  process.exitCode = await run({ command, args, environment: process.env, root, hostOf })
}
// What still holds the event loop now (a client that does not read) must not keep a stopped node alive.
setTimeout(() => process.exit(), 1_000).unref()
