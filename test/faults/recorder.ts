// What was executed, as the functions tell it: a process of its own with a file of its own, synced before it answers.
// Arguments: the file, the address, the port (0 for any). It prints the port when it listens.
import { closeSync, fdatasync, openSync, readFileSync, write } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import { executionsIn } from './notes.ts'

const [file = '', host = '127.0.0.1', port = '0'] = process.argv.slice(2)
const descriptor = openSync(file, 'a', 0o600)
/** Runs of each event that it was told of; a function that is to fail at first asks by it whether it has. */
const runs = new Map<string, Set<string>>()
const remember = (ids: readonly string[], run: string): number[] =>
  ids.map((id) => {
    const seen = runs.get(id) ?? new Set()
    runs.set(id, seen.add(run))
    return seen.size
  })
for (const { ids, run } of executionsIn(readFileSync(file, 'utf8'))) remember(ids, run)

let waiting: { line: string; answer: ServerResponse; said: string }[] = []
let isWriting = false
const [writeOut, sync] = [promisify(write) as (fd: number, text: string) => Promise<unknown>, promisify(fdatasync)]
/** What comes while a sync is under way shares the next one. */
async function flush(): Promise<void> {
  if (isWriting) return
  isWriting = true
  while (waiting.length > 0) {
    const now = waiting
    waiting = []
    await writeOut(descriptor, now.map(({ line }) => `${line}\n`).join(''))
    await sync(descriptor)
    for (const { answer, said } of now) answer.end(said)
  }
  isWriting = false
}

const server = createServer({ keepAlive: true }, async (request, answer) => {
  try {
    const body = String(Buffer.concat(await request.toArray()))
    const told = JSON.parse(body) as { ids: string[]; run: string }
    waiting.push({ line: JSON.stringify({ at: Date.now(), ...told }), answer, said: JSON.stringify({ runs: remember(told.ids, told.run) }) })
    await flush()
  } catch {
    // A function that was killed in the midst of what it says.
    answer.destroy()
  }
})
server.keepAliveTimeout = 600_000
server.listen(Number(port), host, () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`))
process.on('SIGTERM', () => {
  closeSync(descriptor)
  process.exit(0)
})
