import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import path from 'node:path'

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const LIMIT_MS = 20_000

/** The programs that networks are made with, and where they come from on Debian. */
const NEEDED = { ip: 'iproute2', nft: 'nftables', nsenter: 'util-linux', mount: 'mount', umount: 'mount' } as const

/** The packages of what is not installed here. */
export function packagesMissing(): string[] {
  const isThere = (program: string) => PATH.split(':').some((folder) => isProgram(path.join(folder, program)))
  return [...new Set(Object.entries(NEEDED).flatMap(([program, from]) => (isThere(program) ? [] : [from])))]
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Runs a program to its end. @returns what it wrote. @throws Error with what it complained of */
export function run(program: string, args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, { env: { PATH }, cwd: '/', timeout: LIMIT_MS, maxBuffer: 1 << 24 }, (error, out, complaint) => {
      if (error) reject(new Error(`${program} ${args.join(' ')}: ${complaint.trim().slice(0, 500) || error.message}`))
      else resolve(out)
    })
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
}
