import { language } from './text.ts'

const formats = new Map<string, Intl.NumberFormat>()
function number(value: number, maximumFractionDigits: number): string {
  const key = `${language()} ${maximumFractionDigits}`
  let format = formats.get(key)
  if (!format) {
    format = new Intl.NumberFormat(language(), { maximumFractionDigits })
    formats.set(key, format)
  }
  return format.format(value)
}

/** Three digits that say something, whatever the size. */
const digits = (value: number) => number(value, Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2)

export const count = (value: number): string => number(value, 0)

/** At the lines of a chart: between whole numbers nothing stands. */
export const wholeCount = (value: number): string => (Number.isInteger(value) ? count(value) : '')

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let at = 0
  let rest = value
  while (rest >= 1024 && at < units.length - 1) {
    rest /= 1024
    at += 1
  }
  return `${at === 0 ? count(rest) : digits(rest)} ${units[at]}`
}

export function duration(ms: number): string {
  if (ms < 1000) return `${digits(ms)} ms`
  if (ms < 60_000) return `${digits(ms / 1000)} s`
  if (ms < 3_600_000) return `${digits(ms / 60_000)} min`
  return `${digits(ms / 3_600_000)} h`
}

export const gbSeconds = (value: number): string => `${value !== 0 && Math.abs(value) < 0.01 ? number(value, 6) : digits(value)} GB-s`

export function money(value: number, currency: string): string {
  // A call costs a fraction of a cent: then its first three digits are said, wherever they begin.
  const digits = value !== 0 && Math.abs(value) < 0.1 ? { maximumSignificantDigits: 3 } : { minimumFractionDigits: 2, maximumFractionDigits: 2 }
  return new Intl.NumberFormat(language(), { style: 'currency', currency, currencyDisplay: 'narrowSymbol', ...digits }).format(value)
}

const two = (value: number) => String(value).padStart(2, '0')

/** Local time to the second, in 24 hours; the date is left out when it is today. */
export function localTime(at: Date, today: Date): string {
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
  if (at.toDateString() === today.toDateString()) return time
  const year = at.getFullYear() === today.getFullYear() ? {} : ({ year: 'numeric' } as const)
  return `${new Intl.DateTimeFormat(language(), { month: 'short', day: 'numeric', ...year }).format(at)} ${time}`
}

export const utcTime = (at: Date): string =>
  `${at
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, '')} UTC`

/** A day as the node counts it, in UTC. */
export const utcDay = (at: Date): string => at.toISOString().slice(0, 10)
