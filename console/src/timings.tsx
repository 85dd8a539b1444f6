import { useId } from 'react'
import type { Invocation } from './api.ts'
import { Hatch, type Segment } from './chart.tsx'
import { duration } from './format.ts'
import { t } from './text.ts'

export interface Part {
  /** A class of the style sheet, as a segment of a chart has it. */
  readonly kind: 'queue' | 'wait' | 'init' | 'run' | 'bad' | 'response'
  readonly name: string
  readonly ms: number
}

/** Where the time of an invocation went, in its order; what it had no part of is left out. */
export function partsOf(one: Invocation): readonly Part[] {
  const all: (Omit<Part, 'ms'> & { ms: number | null })[] = [
    { kind: 'queue', name: t('queue'), ms: one.queueMs },
    { kind: 'wait', name: t('sandbox'), ms: one.waitMs },
    { kind: 'init', name: t('loading'), ms: one.cold === null ? null : one.initMs },
    { kind: one.outcome === 'ok' ? 'run' : 'bad', name: t('run'), ms: one.runMs },
    { kind: 'response', name: t('response'), ms: one.responseMs },
  ]
  return all.flatMap((part) => (part.ms === null ? [] : [{ ...part, ms: part.ms }]))
}

/** What can be seen of them: less than a hundredth is no line. */
export function drawnOf(parts: readonly Part[]): readonly Segment[] {
  const total = parts.reduce((sum, part) => sum + part.ms, 0)
  return parts.filter((part) => part.ms > 0 && part.ms >= total / 100).map(({ kind, ms }) => ({ kind, value: ms }))
}

export const saysParts = (parts: readonly Part[]): string => parts.map(({ name, ms }) => `${name} ${duration(ms)}`).join(' · ')

/** The parts side by side, as wide as the place is, whatever they took together. */
export function PartsBar({ of }: { of: readonly Part[] }) {
  const pattern = useId()
  const drawn = drawnOf(of)
  const total = drawn.reduce((sum, part) => sum + part.value, 0)
  let at = 0
  return (
    <svg className="parts" role="img" aria-label={saysParts(of)}>
      <title>{saysParts(of)}</title>
      <Hatch id={pattern} />
      {drawn.map(({ kind, value }) => {
        const from = at
        at += value
        const fill = kind === 'bad' ? { fill: `url(#${pattern})` } : {}
        return <rect key={kind} x={`${(from / total) * 100}%`} width={`${(value / total) * 100}%`} height="100%" className={`bar-${kind}`} {...fill} />
      })}
    </svg>
  )
}
