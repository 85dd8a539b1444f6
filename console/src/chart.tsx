import { type KeyboardEvent, type ReactNode, useEffect, useId, useRef, useState } from 'react'

export interface Segment {
  readonly value: number
  /** A class of the style sheet: it says colour and pattern. */
  readonly kind: string
}
export interface Bar {
  readonly key: string
  readonly segments: readonly Segment[]
  /** Drawn above the bar. */
  readonly mark?: string
  /** What the bar says in words, shown below when it is chosen. */
  readonly told: ReactNode
}

const HEIGHT = 180
const TOP = 22
const BOTTOM = 22
const PLOT = HEIGHT - TOP - BOTTOM

/**
 * Bars of stacked segments, drawn to the width there is: the newest that fit. By pointer or arrow keys one is chosen,
 * and the line below, which always has its place, says it in words.
 */
export function Bars({
  label,
  bars,
  show,
  legend,
  first,
  last,
}: {
  label: string
  bars: readonly Bar[]
  show: (value: number) => string
  legend: readonly { readonly kind: string; readonly name: string }[]
  first: string
  last: string
}) {
  const frame = useRef<HTMLFieldSetElement>(null)
  const [width, setWidth] = useState(0)
  const [chosen, setChosen] = useState<string | null>(null)
  const pattern = useId()
  useEffect(() => {
    const element = frame.current
    if (!element) return
    const observer = new ResizeObserver(() => setWidth(Math.floor(element.clientWidth)))
    observer.observe(element)
    return () => observer.disconnect()
  }, [])
  // Labels of numbers stand left of the plot, as wide as the longest of all bars needs; 6.6 pixels a character.
  const left = 14 + 6.6 * Math.max(...[0, 0.5, 1].map((part) => show(part * niceCeiling(Math.max(...bars.map(sumOf), 0))).length))
  const room = Math.max(0, width - left - 4)
  const shown = bars.slice(-Math.max(1, Math.floor(room / 7)))
  const step = Math.min(room / Math.max(shown.length, 1), 44)
  const top = niceCeiling(Math.max(...shown.map(sumOf), 0))
  const y = (value: number) => TOP + PLOT - (value / top) * PLOT
  const index = shown.findIndex((bar) => bar.key === chosen)
  const keyed = (event: KeyboardEvent) => {
    const to = { ArrowLeft: index === -1 ? shown.length - 1 : index - 1, ArrowRight: index + 1, Home: 0, End: shown.length - 1 }[event.key]
    if (to === undefined) return
    event.preventDefault()
    setChosen(shown[Math.min(Math.max(to, 0), shown.length - 1)]?.key ?? null)
  }
  return (
    <figure className="chart">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys choose a bar */}
      <fieldset className="plot" ref={frame} aria-label={label} tabIndex={0} onKeyDown={keyed}>
        {width > 0 && (
          <svg width={width} height={HEIGHT} aria-hidden="true" onPointerLeave={() => setChosen(null)}>
            <Hatch id={pattern} />
            {[0, top / 2, top].map((value) => (
              <g key={value}>
                <line x1={left} x2={width} y1={y(value)} y2={y(value)} className={value === 0 ? 'axis' : 'grid'} />
                <text x={left - 6} y={y(value) + 4} textAnchor="end">
                  {show(value)}
                </text>
              </g>
            ))}
            <text x={left} y={HEIGHT - 5}>
              {first}
            </text>
            <text
              x={left + step * shown.length}
              y={HEIGHT - 5}
              textAnchor={step * shown.length < 150 ? 'start' : 'end'}
              className={shown.length < 2 ? 'none' : undefined}
            >
              {last}
            </text>
            {shown.map((bar, place) => {
              const x = left + place * step
              const inner = Math.max(step - (step > 10 ? 4 : 2), 2)
              const middle = x + step / 2
              let base = 0
              return (
                <g key={bar.key} className={bar.key === chosen ? 'bar chosen' : 'bar'} onPointerEnter={() => setChosen(bar.key)}>
                  <rect x={x} y={TOP} width={step} height={PLOT} className="reach" />
                  {bar.segments.map((segment) => {
                    const from = base
                    base += segment.value
                    const height = Math.max(y(from) - y(base), segment.value > 0 ? 2 : 0)
                    const fill = segment.kind === 'bad' ? { fill: `url(#${pattern})` } : {}
                    return (
                      <rect
                        key={segment.kind}
                        x={middle - inner / 2}
                        y={y(from) - height}
                        width={inner}
                        height={height}
                        className={`bar-${segment.kind}`}
                        {...fill}
                      />
                    )
                  })}
                  {bar.mark && (
                    <text x={middle} y={Math.min(y(base), TOP + PLOT - 2) - 5} textAnchor="middle" className="mark">
                      {bar.mark}
                    </text>
                  )}
                </g>
              )
            })}
          </svg>
        )}
      </fieldset>
      <p className="told" aria-live="polite">
        {shown[index]?.told ?? ' '}
      </p>
      <figcaption>
        {legend.map(({ kind, name }) => (
          <span key={kind}>
            <svg width="12" height="12" aria-hidden="true">
              <rect width="12" height="12" rx="2" className={`bar-${kind}`} {...(kind === 'bad' ? { fill: `url(#${pattern})` } : {})} />
            </svg>
            {name}
          </span>
        ))}
      </figcaption>
    </figure>
  )
}

/** How what failed is filled: told apart without its colour too. */
export function Hatch({ id }: { id: string }) {
  return (
    <defs>
      <pattern id={id} width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect width="6" height="6" className="ink-bad" />
        <rect width="2" height="6" className="hatch" />
      </pattern>
    </defs>
  )
}

const sumOf = (bar: Bar) => bar.segments.reduce((sum, segment) => sum + segment.value, 0)

/** The next of 1, 2, 5, 10 … that is not below, so that the lines stand at round values. */
function niceCeiling(value: number): number {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 2, 4, 5, 10].find((step) => step * power >= value) ?? 10) * power
}
