import { execFileSync } from 'node:child_process'

/** Some seconds of requests over so many connections that stay open. */
export function wrk(
  url: string,
  connections: number,
  header: string | null,
  seconds = 4,
  script: string | null = null,
): { rate: number; p50: string; calls: number; refused: number } {
  const out = execFileSync(
    'wrk',
    ['-t1', `-c${connections}`, `-d${seconds}`, '--latency', ...(header ? ['-H', header] : []), ...(script ? ['-s', script] : []), url],
    { encoding: 'utf8' },
  )
  const failed = /Non-2xx or 3xx responses: (\d+)/.exec(out)?.[1]
  if (failed !== undefined) process.stdout.write(`${failed} answers of ${url} were refusals\n`)
  return {
    refused: Number(failed ?? 0),
    rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(out)?.[1]),
    p50: /^\s+50%\s+(\S+)/m.exec(out)?.[1] ?? '',
    calls: Number(/(\d+) requests in/.exec(out)?.[1]),
  }
}
