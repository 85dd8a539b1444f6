import { execFileSync } from 'node:child_process'

/** Four seconds of requests over so many connections that stay open. */
export function wrk(url: string, connections: number, header: string | null): { rate: number; p50: string } {
  const out = execFileSync('wrk', ['-t1', `-c${connections}`, '-d4', '--latency', ...(header ? ['-H', header] : []), url], { encoding: 'utf8' })
  return { rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(out)?.[1]), p50: /^\s+50%\s+(\S+)/m.exec(out)?.[1] ?? '' }
}
