import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Turns } from '../../lib/turns.ts'
import { NotJson, type Outline, outlineOf } from './outline.ts'

const still = { monotonic: () => 0 }
const read = (text: string | Buffer, most = 100) => outlineOf(Buffer.from(text as string), new Turns(still, 5), true, most)

/** The same of what the engine makes of the text. */
function plainOutline(value: unknown): Outline {
  const keysOf = (each: unknown) => (typeof each === 'object' && each !== null && !Array.isArray(each) ? Object.keys(each).toSorted() : null)
  if (!Array.isArray(value)) {
    const keys = keysOf(value)
    return { kind: keys ? 'object' : 'other', isEmpty: (keys ?? []).length === 0, keys, areObjects: false, isEven: false }
  }
  const all = value.map(keysOf)
  const areObjects = all.every((keys) => keys !== null)
  return {
    kind: 'array',
    isEmpty: value.length === 0,
    keys: all[0] ?? null,
    areObjects,
    isEven: areObjects && all.every((keys) => JSON.stringify(keys) === JSON.stringify(all[0])),
  }
}

const sorted = (outline: Outline): Outline => ({ ...outline, keys: outline.keys?.toSorted() ?? null })

describe('the outline of a large body', () => {
  const name = fc.constantFrom('a', 'b', 'c', '"', '\t', '\n', '한글', '__proto__', '', 'a"b')
  const row = fc.dictionary(name, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 })
  const text = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.stringify(value)),
    fc.array(row, { maxLength: 4 }).map((rows) => JSON.stringify(rows)),
    fc.tuple(fc.shuffledSubarray(['a', 'b', '\u00e9', '"'], { minLength: 4 }), fc.shuffledSubarray(['a', 'b', '\u00e9', '"'], { minLength: 3 })).map(
      // Names of two rows in any order, escaped in one of them, and one of them written twice.
      ([first, second]) =>
        `[{${first.map((key) => `${JSON.stringify(key)}: 1`).join(' ,')}, "a":2},\t{${second.map((key) => `"\\u${key.charCodeAt(0).toString(16).padStart(4, '0')}":[{"x":-0.5e+3}]`).join(',')}}]`,
    ),
  )

  it('is that of what the engine reads', async () => {
    await fc.assert(
      fc.asyncProperty(text, async (each) => {
        assert.deepEqual(sorted(await read(each)), plainOutline(JSON.parse(each)), each)
      }),
      { numRuns: 2_000, seed: 8 },
    )
  })
  it('takes for JSON what the engine takes, and nothing else', async () => {
    const pieces = ['{', '}', '[', ']', ',', ':', '"', '\\', '\\u00', '1', '0', '-', '.', 'e', '+', 'true', 'nul', '\n', '\u0001', '\u00a0', '\ufeff', '']
    const changed = fc.tuple(text, fc.nat(), fc.nat({ max: 3 }), fc.constantFrom(...pieces))
    await fc.assert(
      fc.asyncProperty(changed, async ([each, place, cut, piece]) => {
        const at = place % (each.length + 1)
        const other = `${each.slice(0, at)}${piece}${each.slice(at + cut)}`.toWellFormed()
        let wanted: Outline | null = null
        try {
          wanted = plainOutline(JSON.parse(other))
        } catch {}
        if (wanted === null) await assert.rejects(() => read(other), NotJson, other)
        else assert.deepEqual(sorted(await read(other)), wanted, other)
      }),
      { numRuns: 4_000, seed: 8 },
    )
  })
  it('has the names that are written, whatever was read before', async () => {
    for (const key of ['\\\\', '\\n', '\\u005c', '\\u000a']) {
      const wanted = key === '\\n' || key === '\\u000a' ? '\n' : '\\'
      assert.deepEqual((await read(`{"a":1,"${key}":1}`)).keys, ['a', wanted])
    }
  })
  it('is read in turns, whatever the text is made of', async () => {
    const size = 1 << 20
    const texts = [`[${'[],'.repeat(size / 3)}1]`, `${'['.repeat(size / 2)}${']'.repeat(size / 2)}`, `[${'{"a":1},'.repeat(size / 9)}{"a":2}]`]
    texts.push(`{${Array.from({ length: size / 12 }, (_, n) => `"k${n}":1`).join()}}`)
    for (const each of texts) {
      let looks = 0
      let others = 0
      // A clock by which every turn is over as soon as it is looked at.
      const turns = new Turns({ monotonic: () => ++looks * 10 }, 5)
      const beside = setInterval(() => others++, 0)
      const outline = await outlineOf(Buffer.from(each), turns, true, 10)
      clearInterval(beside)
      assert.ok(looks > 50, String(looks))
      assert.ok(others > 0)
      assert.ok((outline.keys ?? []).length <= 10)
    }
  })
})
