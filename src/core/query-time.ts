import { MayflyError } from './errors.ts'

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)$/

/** Of a span of time that is asked for. @throws MayflyError bad_request */
export function timeOf(query: URLSearchParams, name: 'from' | 'to'): Date | null {
  const text = query.get(name)
  if (text === null) return null
  const time = new Date(text)
  if (!TIME.test(text) || Number.isNaN(time.getTime())) throw new MayflyError('bad_request', `${name}: a time like 2026-01-31T12:00:00Z`)
  return time
}
