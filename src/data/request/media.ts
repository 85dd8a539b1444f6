/** What answers can look like. A plan is of an answer that would have `of`. */
export type MediaType =
  /** Whatever is there. */
  | { readonly kind: 'any' }
  | { readonly kind: 'json' }
  | { readonly kind: 'csv' }
  | { readonly kind: 'openapi' }
  | { readonly kind: 'array' | 'object'; readonly isStripped: boolean }
  | { readonly kind: 'plan'; readonly format: 'text' | 'json'; readonly of: string; readonly options: readonly PlanOption[] }
  | { readonly kind: 'other'; readonly name: string }
export const PLAN_OPTIONS = ['analyze', 'verbose', 'settings', 'buffers', 'wal'] as const
export type PlanOption = (typeof PLAN_OPTIONS)[number]

/** Which are wanted, the most wanted first. Without the header: anything. */
export function parseAccept(header: string | undefined): readonly MediaType[] {
  if (header === undefined || header.trim() === '') return [{ kind: 'any' }]
  return splitOutsideQuotes(header, ',')
    .map((text, place) => ({ place, ...parseOne(text) }))
    .filter(({ quality }) => quality > 0)
    .toSorted((a, b) => b.quality - a.quality || a.place - b.place)
    .map(({ type }) => type)
}

function parseOne(text: string): { type: MediaType; quality: number } {
  const [first = '', ...parts] = splitOutsideQuotes(text, ';').map((part) => part.trim())
  const parameters = new Map<string, string>()
  for (const part of parts) {
    const mark = part.indexOf('=')
    if (mark > 0)
      parameters.set(
        part.slice(0, mark).trim().toLowerCase(),
        part
          .slice(mark + 1)
          .trim()
          .replace(/^"(.*)"$/, '$1'),
      )
  }
  const quality = parameters.has('q') ? Number(parameters.get('q')) : 1
  return { type: typeOf(first.toLowerCase(), parameters), quality: Number.isFinite(quality) ? quality : 1 }
}

function typeOf(name: string, parameters: ReadonlyMap<string, string>): MediaType {
  const isStripped = parameters.get('nulls') === 'stripped'
  switch (name) {
    case '*/*':
    case 'application/*':
      return { kind: 'any' }
    case 'application/json':
      return { kind: 'json' }
    case 'text/csv':
    case 'text/*':
      return { kind: 'csv' }
    case 'application/openapi+json':
      return { kind: 'openapi' }
    case 'application/vnd.pgrst.object':
    case 'application/vnd.pgrst.object+json':
      return { kind: 'object', isStripped }
    case 'application/vnd.pgrst.array':
    case 'application/vnd.pgrst.array+json':
      return isStripped ? { kind: 'array', isStripped } : { kind: 'json' }
    case 'application/vnd.pgrst.plan':
    case 'application/vnd.pgrst.plan+text':
    case 'application/vnd.pgrst.plan+json': {
      const asked = (parameters.get('options') ?? '').split('|')
      return {
        kind: 'plan',
        format: name.endsWith('+json') ? 'json' : 'text',
        of: parameters.get('for') ?? 'application/json',
        options: PLAN_OPTIONS.filter((option) => asked.includes(option)),
      }
    }
    default:
      return { kind: 'other', name }
  }
}

function splitOutsideQuotes(text: string, separator: string): string[] {
  const parts: string[] = []
  let from = 0
  let isQuoted = false
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '"') isQuoted = !isQuoted
    else if (text[at] === separator && !isQuoted) {
      parts.push(text.slice(from, at))
      from = at + 1
    }
  }
  parts.push(text.slice(from))
  return parts
}
