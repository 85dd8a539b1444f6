import { MayflyError } from '../../core/errors.ts'
import { type HttpSpec, routeSegments } from '../../core/web-triggers.ts'

/** A route, and the function that answers it. */
export interface FunctionRoute {
  readonly functionName: string
  readonly http: HttpSpec
}

export type RouteMatch =
  | { readonly kind: 'found'; readonly route: FunctionRoute; readonly parameters: Readonly<Record<string, string>> }
  | { readonly kind: 'wrong-method'; readonly allow: readonly string[] }
  | { readonly kind: 'none' }

interface Node {
  readonly literals: Map<string, Node>
  parameter: Node | null
  readonly here: Ending[]
  readonly rest: Ending[]
}

interface Ending {
  readonly route: FunctionRoute
  readonly names: readonly string[]
}

interface Candidate extends Ending {
  readonly values: readonly string[]
}

const node = (): Node => ({ literals: new Map(), parameter: null, here: [], rest: [] })

/** The routes of a project, found by the most literal first. Of two that are alike, as while one moves to another function, the former in the list counts. */
export class RouteTable {
  readonly #root = node()

  constructor(routes: readonly FunctionRoute[]) {
    for (const route of routes) this.#add(route)
  }

  #add(route: FunctionRoute): void {
    const segments = routeSegments(route.http.path)
    if (typeof segments === 'string') return
    const names: string[] = []
    let at = this.#root
    for (const segment of segments) {
      if (segment.kind === 'literal') {
        const next = at.literals.get(segment.text) ?? node()
        at.literals.set(segment.text, next)
        at = next
        continue
      }
      names.push(segment.name)
      if (segment.kind === 'rest') {
        at.rest.push({ route, names })
        return
      }
      at.parameter ??= node()
      at = at.parameter
    }
    at.here.push({ route, names })
  }

  /**
   * @param rawPath  encoded as it came, without its leading slash
   * @throws MayflyError uri_invalid for what is no text, or what somebody behind us might read as another path
   */
  match(method: string, rawPath: string): RouteMatch {
    const segments = rawPath === '' ? [] : rawPath.split('/').map(decoded)
    const candidates: Candidate[] = []
    walk(this.#root, segments, 0, [], candidates)
    for (const asked of method === 'HEAD' ? ['HEAD', 'GET'] : [method])
      for (const { route, names, values } of candidates)
        if (route.http.methods === undefined || route.http.methods.some((one) => one === asked))
          return { kind: 'found', route, parameters: Object.fromEntries(names.map((name, at) => [name, values[at] ?? ''])) }
    if (candidates.length === 0) return { kind: 'none' }
    const allow = new Set(candidates.flatMap(({ route }) => route.http.methods ?? []))
    return { kind: 'wrong-method', allow: [...allow, ...(allow.has('GET') && !allow.has('HEAD') ? ['HEAD'] : [])].toSorted() }
  }
}

/** Once, and each segment by itself: an encoded slash stays inside. */
function decoded(segment: string): string {
  let text: string
  try {
    text = decodeURIComponent(segment)
  } catch {
    throw new MayflyError('uri_invalid', 'the path holds a broken percent-encoding')
  }
  if (text === '.' || text === '..' || text.includes('\0')) throw new MayflyError('uri_invalid', 'the path holds `.`, `..` or NUL as a segment')
  return text
}

/** Collects what fits, the most literal first; a parameter stands for no empty text. */
function walk(at: Node, segments: readonly string[], index: number, values: readonly string[], out: Candidate[]): void {
  const segment = segments[index]
  if (segment === undefined) {
    for (const ending of at.here) out.push({ ...ending, values })
    return
  }
  const literal = at.literals.get(segment)
  if (literal) walk(literal, segments, index + 1, values, out)
  if (at.parameter && segment !== '') walk(at.parameter, segments, index + 1, [...values, segment], out)
  const rest = at.rest.length > 0 ? segments.slice(index).join('/') : ''
  if (rest !== '') for (const ending of at.rest) out.push({ ...ending, values: [...values, rest] })
}
