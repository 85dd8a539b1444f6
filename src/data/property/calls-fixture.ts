import fc from 'fast-check'
import type { Draw } from './arbitrary-fixture.ts'
import { type Asked, FIRST } from './writes-fixture.ts'
import type { Json } from './world-fixture.ts'

/** A call of a function, by GET with its arguments in the query or by POST with them in the body, and what it gives. */
export interface Call {
  readonly name: string
  readonly asked: Asked
  /** Null where there is no such function, or several. */
  readonly code: string | null
  readonly value: Json | undefined
  readonly range: string | null
}

export function drawCall(draw: Draw): Call {
  const of = <T>(values: readonly T[]): T => draw(fc.constantFrom<T[]>, ...values) as T
  const oneIn = (n: number) => (draw(fc.nat, { max: n - 1 }) as number) === 0
  const upTo = (n: number) => draw(fc.nat, { max: n }) as number
  const name = of(['pick', 'whole', 'total', 'words', 'notes_from', 'pair', 'nothing'] as const)
  const isRead = name !== 'nothing' && name !== 'whole' && oneIn(2)
  const word = () => of(['x', 'a b', 'q"x', '', '한글', '1'])
  const given: Record<string, Json> = {}
  const extra: [string, string][] = []
  let value: Json | undefined
  let code: string | null = null
  let range: string | null = null
  const cut = (rows: readonly Json[], counted: number): readonly Json[] => {
    const limit = oneIn(2) ? upTo(3) : null
    const offset = oneIn(3) ? upTo(2) : 0
    if (limit !== null) extra.push(['limit', String(limit)])
    if (offset > 0) extra.push(['offset', String(offset)])
    const shown = rows.slice(offset, limit === null ? undefined : offset + limit)
    range = `${shown.length === 0 ? '*' : `${offset}-${offset + shown.length - 1}`}/${counted}`
    if (offset > counted) code = 'PGRST103'
    return shown
  }
  switch (name) {
    case 'pick': {
      if (!oneIn(8)) given.a = upTo(9)
      if (oneIn(2)) given.b = word()
      if (oneIn(3)) given.c = oneIn(2)
      const has = (key: string) => Object.hasOwn(given, key)
      if (!has('a') || (has('c') && !has('b'))) code = 'PGRST202'
      else if (has('c')) value = `three ${given.a} ${given.b} ${given.c}`
      else if (has('b')) value = `two ${given.a} ${given.b}`
      else code = 'PGRST203'
      break
    }
    case 'whole': {
      const body = of<Json>([{ a: [1, null] }, [1, 'x'], [], { whole: { x: 'y' } }, [{ a: 1 }, { b: 2 }]])
      return { name, asked: { method: 'POST', query: '', headers: { prefer: 'count=exact' }, body: JSON.stringify(body) }, code, value: body, range }
    }
    case 'total': {
      const ns = Array.from({ length: 1 + upTo(3) }, () => upTo(50))
      given.ns = ns
      value = ns.reduce((sum, n) => sum + n, 0)
      break
    }
    case 'words': {
      given.upto = upTo(4)
      if (oneIn(2)) given.word = word()
      const all = Array.from({ length: given.upto as number }, (_, place) => `${given.word ?? 'w'}${place + 1}`)
      value = cut(all, all.length)
      break
    }
    case 'notes_from': {
      if (oneIn(2)) given.lowest = upTo(4)
      let rows = FIRST.filter((row) => row.hidden !== true && (row.id as number) >= ((given.lowest as number | undefined) ?? 0))
      if (oneIn(3)) {
        extra.push(['code', 'eq.a'])
        rows = rows.filter((row) => row.code === 'a')
      }
      extra.push(['select', 'id,it:name'], ['order', 'id.desc'])
      value = cut(
        rows.toSorted((a, b) => (b.id as number) - (a.id as number)).map((row) => ({ id: row.id as number, it: row.name as string | null })),
        rows.length,
      )
      break
    }
    case 'pair': {
      given.a = upTo(9)
      value = { a: given.a, b: `b${given.a}` }
      break
    }
    case 'nothing':
      value = undefined
  }
  const query = [...extra]
  if (isRead)
    for (const [key, each] of Object.entries(given))
      if (Array.isArray(each) && oneIn(2)) for (const one of each as readonly Json[]) query.push([key, String(one)])
      else query.push([key, Array.isArray(each) ? `{${each.join()}}` : String(each)])
  return {
    name,
    asked: {
      method: isRead ? 'GET' : 'POST',
      query: query.map(([key, each]) => `${encodeURIComponent(key)}=${encodeURIComponent(each)}`).join('&'),
      headers: { prefer: 'count=exact' },
      body: isRead ? '' : JSON.stringify(given),
    },
    code,
    value,
    range,
  }
}
