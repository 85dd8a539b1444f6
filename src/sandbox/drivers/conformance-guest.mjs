// What runs inside for the suite of drivers: a line of JSON in by fd 3, one out. It imports nothing of ours.
import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'

const control = new net.Socket({ fd: 3, readable: true, writable: true })
const relay = new net.Socket({ fd: 4, readable: true, writable: true })
relay.on('data', (bytes) => relay.write(bytes))
relay.on('error', () => {})
// Like every guest of ours: without a host there is nothing to do.
control.on('close', () => process.exit())
control.on('error', () => process.exit())

const kept = []
const tried = (work) => {
  try {
    return work()
  } catch (error) {
    return error.code
  }
}
const links = () => Object.fromEntries(fs.readdirSync('/proc/self/fd').map((fd) => [fd, tried(() => fs.readlinkSync(`/proc/self/fd/${fd}`))]))
/** A child that nothing reaches but a kill, in a session of its own. */
const child = (marker) =>
  spawn('/bin/sh', ['-c', `trap "" TERM INT HUP; while :; do sleep 1; done # ${marker}`], { detached: true, stdio: 'ignore' }).on('error', () => {})

const answers = {
  hello: () => ({ pid: process.pid, environment: Object.keys(process.env).sort() }),
  links,
  write: ({ file, bytes }) => tried(() => fs.writeFileSync(file, Buffer.alloc(bytes))) ?? 'written',
  read: ({ file }) => tried(() => fs.readFileSync(file, 'utf8')),
  list: ({ folder }) => tried(() => fs.readdirSync(folder)),
  files: ({ folder, count }) => {
    let made = 0
    const more = () => tried(() => fs.closeSync(fs.openSync(`${folder}/f${made}`, 'w')))
    while (made < count && more() === undefined) made++
    return made
  },
  children: ({ count, marker }) => {
    let made = 0
    while (made < count && child(marker).pid !== undefined) made++
    return made
  },
  /** Programs whose parent ends before them. */
  orphans: ({ count }) => {
    let made = 0
    while (made < count && spawnSync('/bin/sh', ['-c', ': &']).status === 0) made++
    return made
  },
  /** Each pair is two descriptors. */
  open: ({ count }) => {
    const opened = []
    const why = tried(() => {
      for (let i = 0; i < count; i++) opened.push(fs.openSync('/dev/null', 'r'))
    })
    for (const fd of opened) fs.closeSync(fd)
    return why ?? 'opened'
  },
  allocate: ({ mb }) => {
    for (let i = 0; i < mb; i++) kept.push(Buffer.alloc(1024 * 1024, 1))
    return kept.length
  },
  /** A program that ends as by a fault of its own. */
  crash: () => spawnSync('/bin/sh', ['-c', 'kill -SEGV $$']).signal,
  exit: ({ code }) => process.exit(code),
}

let text = ''
control.on('data', (bytes) => {
  text += bytes
  for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n')) {
    const { what, ...rest } = JSON.parse(text.slice(0, end))
    text = text.slice(end + 1)
    control.write(`${JSON.stringify({ answer: answers[what](rest) })}\n`)
  }
})
