import type { LogLine, QuietCall } from './meter.ts'

/** What REPORT says of a call. */
export interface Reported {
  readonly durationMs: number
  readonly billedMs: number
  readonly memoryMb: number
  readonly maxMemoryMb: number | null
  readonly initMs: number
  readonly cold: string | null
}

export const startLine = (id: string, version: string): string => `START RequestId: ${id} Version: ${version}`
export const endLine = (id: string): string => `END RequestId: ${id}`

/** @param status  what stands behind it of a call that went wrong */
export function reportLine(id: string, { durationMs, billedMs, memoryMb, maxMemoryMb, initMs, cold }: Reported, status = ''): string {
  const maxMemory = maxMemoryMb === null ? '' : `Max Memory Used: ${maxMemoryMb} MB\t`
  const init = initMs === 0 ? '' : `Init Duration: ${initMs.toFixed(2)} ms\t`
  const start = cold === null ? '' : `Cold Start: ${cold}\t`
  const measured = `Duration: ${durationMs.toFixed(2)} ms\tBilled Duration: ${billedMs} ms\tMemory Size: ${memoryMb} MB\t`
  return `REPORT RequestId: ${id}\t${measured}${maxMemory}${init}${start}${status}`
}

/** So many lines has a call that wrote nothing. */
export const QUIET_LINES = 3

/** One of the lines of such a call; 0 is the first. */
export function quietLine(
  [id, startedAt, endedAt, durationMs, billedMs, memoryMb, maxMemoryMb, initMs, cold]: QuietCall,
  version: string,
  which: number,
): LogLine {
  const text = which === 0 ? startLine(id, version) : which === 1 ? endLine(id) : reportLine(id, { durationMs, billedMs, memoryMb, maxMemoryMb, initMs, cold })
  return { at: which === 0 ? startedAt : endedAt, source: 'platform', text }
}
