import type { Route } from '../core/route.ts'

interface Node {
  literals: Map<string, Node>
  parameter: Node | null
  /** Routes that end here, by method; `*` for any. */
  here: Map<string, Route>
  /** Routes whose last segment is `*`: they take this path and everything below it. */
  rest: Map<string, Route>
}

export type Match =
  | { readonly kind: 'found'; readonly route: Route; readonly params: Readonly<Record<string, string>> }
  | { readonly kind: 'wrong-method'; readonly allow: readonly string[] }
  | { readonly kind: 'none' }
  | { readonly kind: 'bad-encoding' }

/** What the paths of the Lambda API begin with; its older clients end some of them with a slash. */
const DATED = /^\d{4}-\d\d-\d\d$/

const MOST_KNOWN = 512
const LONGEST_KNOWN = 256

const node = (): Node => ({ literals: new Map(), parameter: null, here: new Map(), rest: new Map() })

/**
 * Finds the row of a path. Works on the raw path: it is split first and each segment decoded once after,
 * so that an encoded slash or colon stays inside its segment.
 */
export class Router {
  readonly #root = node()
  readonly #names = new Map<Route, readonly string[]>()
  /** What was found lately: most requests ask for what others have asked for. */
  readonly #known = new Map<string, Match>()
  readonly routes: readonly Route[]

  constructor(routes: readonly Route[]) {
    this.routes = routes
    for (const route of routes) this.#add(route)
  }

  #add(route: Route): void {
    let at = this.#root
    const names: string[] = []
    const segments = route.path.slice(1).split('/')
    for (const [index, segment] of segments.entries()) {
      if (segment === '*') {
        if (index !== segments.length - 1) throw new Error(`route ${route.path}: * must stand at the end`)
        this.#put(at.rest, route)
        this.#names.set(route, names)
        return
      }
      if (segment.startsWith(':')) {
        names.push(segment.slice(1))
        at.parameter ??= node()
        at = at.parameter
      } else {
        let next = at.literals.get(segment)
        if (!next) {
          next = node()
          at.literals.set(segment, next)
        }
        at = next
      }
    }
    this.#put(at.here, route)
    this.#names.set(route, names)
  }

  #put(methods: Map<string, Route>, route: Route): void {
    if (methods.has(route.method)) throw new Error(`route ${route.method} ${route.path} stands twice`)
    methods.set(route.method, route)
  }

  match(method: string, rawPath: string): Match {
    if (rawPath.length > LONGEST_KNOWN) return this.#find(method, rawPath)
    const asked = `${method} ${rawPath}`
    const known = this.#known.get(asked)
    if (known) return known
    const match = this.#find(method, rawPath)
    if (match.kind !== 'found') return match
    if (this.#known.size >= MOST_KNOWN) this.#known.clear()
    this.#known.set(asked, match)
    return match
  }

  #find(method: string, rawPath: string): Match {
    const segments = rawPath.slice(1).split('/')
    if (segments.length > 2 && segments.at(-1) === '' && DATED.test(segments[0] as string)) segments.pop()
    const values: string[] = []
    const candidates: { methods: Map<string, Route>; values: string[]; rest: string | null }[] = []
    this.#walk(this.#root, segments, 0, values, candidates)
    const allow = new Set<string>()
    for (const candidate of candidates) {
      const route = candidate.methods.get(method) ?? candidate.methods.get('*')
      if (!route) {
        for (const known of candidate.methods.keys()) allow.add(known)
        continue
      }
      const params: Record<string, string> = {}
      try {
        const names = this.#names.get(route) ?? []
        for (const [index, name] of names.entries()) params[name] = decodeURIComponent(candidate.values[index] ?? '')
      } catch {
        return { kind: 'bad-encoding' }
      }
      if (candidate.rest !== null) params['*'] = candidate.rest
      return { kind: 'found', route, params }
    }
    return allow.size > 0 ? { kind: 'wrong-method', allow: [...allow] } : { kind: 'none' }
  }

  /** Collects what fits, the most literal first. */
  #walk(
    at: Node,
    segments: readonly string[],
    index: number,
    values: string[],
    out: { methods: Map<string, Route>; values: string[]; rest: string | null }[],
  ): void {
    const segment = segments[index]
    if (segment === undefined) {
      if (at.here.size > 0) out.push({ methods: at.here, values: [...values], rest: null })
      if (at.rest.size > 0) out.push({ methods: at.rest, values: [...values], rest: '' })
      return
    }
    const literal = at.literals.get(segment)
    if (literal) this.#walk(literal, segments, index + 1, values, out)
    if (at.parameter && segment !== '') {
      values.push(segment)
      this.#walk(at.parameter, segments, index + 1, values, out)
      values.pop()
    }
    if (at.rest.size > 0) out.push({ methods: at.rest, values: [...values], rest: segments.slice(index).join('/') })
  }
}
