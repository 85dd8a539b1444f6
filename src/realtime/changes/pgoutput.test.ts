import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Decoder, ProtocolError } from './pgoutput.ts'

const int = (bytes: 2 | 4 | 8, value: number) => {
  const buffer = Buffer.alloc(bytes)
  if (bytes === 8) buffer.writeBigInt64BE(BigInt(value))
  else buffer.writeUIntBE(value, 0, bytes)
  return buffer
}
const zero = (text: string) => Buffer.from(`${text}\0`)
const relation = (oid: number, columns: readonly string[]) =>
  Buffer.concat([
    Buffer.from('R'),
    int(4, oid),
    zero('public'),
    zero('t'),
    Buffer.from('d'),
    int(2, columns.length),
    ...columns.flatMap((name, at) => [Buffer.from([at === 0 ? 1 : 0]), zero(name), int(4, 25), int(4, 0)]),
  ])
const tuple = (values: readonly (string | null | undefined)[]) =>
  Buffer.concat([
    int(2, values.length),
    ...values.map((value) =>
      value === null
        ? Buffer.from('n')
        : value === undefined
          ? Buffer.from('u')
          : Buffer.concat([Buffer.from('t'), int(4, Buffer.byteLength(value)), Buffer.from(value)]),
    ),
  ])
const change = (kind: string, oid: number, ...rows: readonly [string, Buffer][]) =>
  Buffer.concat([Buffer.from(kind), int(4, oid), ...rows.flatMap(([mark, row]) => [Buffer.from(mark), row])])
const begin = (ms: number) => Buffer.concat([Buffer.from('B'), int(8, 1), int(8, (ms - 946_684_800_000) * 1_000), int(4, 7)])

describe('messages of pgoutput', () => {
  it('any row is read as it was written', () => {
    const value = fc.option(
      fc.string({ unit: 'binary', maxLength: 20 }).map((text) => Buffer.from(text).toString()),
      { nil: null },
    )
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 8 }), (values) => {
        const decoder = new Decoder(() => true)
        decoder.read(begin(1_700_000_000_123))
        assert.equal(
          decoder.read(
            relation(
              5,
              values.map((_, at) => `c${at}`),
            ),
          ),
          null,
        )
        const read = decoder.read(change('I', 5, ['N', tuple(values)]))
        assert.deepEqual([read?.record, read?.old, read?.committedAt, read?.type], [values, null, 1_700_000_000_123, 'INSERT'])
      }),
    )
  })
  it('of a key only its columns are said; a large value that did not change comes from the old row where it is known', () => {
    const decoder = new Decoder(() => true)
    decoder.read(relation(5, ['id', 'big']))
    const keyed = decoder.read(change('U', 5, ['K', tuple(['1', null])], ['N', tuple(['2', undefined])]))
    assert.deepEqual(
      [keyed?.old, keyed?.record],
      [
        ['1', undefined],
        ['2', undefined],
      ],
    )
    const whole = decoder.read(change('U', 5, ['O', tuple(['1', 'x'])], ['N', tuple(['1', undefined])]))
    assert.deepEqual(whole?.record, ['1', 'x'])
    const gone = decoder.read(change('D', 5, ['K', tuple(['1', null])]))
    assert.deepEqual([gone?.type, gone?.record, gone?.old], ['DELETE', null, ['1', undefined]])
  })
  it('what nobody wants is passed over; a table that was not told is a fault', () => {
    const decoder = new Decoder(({ oid }) => oid === 6)
    decoder.read(relation(5, ['id']))
    assert.equal(decoder.read(change('I', 5, ['N', tuple(['1'])])), null)
    assert.throws(() => decoder.read(change('I', 9, ['N', tuple(['1'])])), ProtocolError)
  })
  it('bytes that are no message end in an error, never in a loop or a wrong row', () => {
    fc.assert(
      fc.property(fc.constantFrom('B', 'R', 'I', 'U', 'D', 'T', 'x'), fc.uint8Array({ maxLength: 60 }), (kind, bytes) => {
        const decoder = new Decoder(() => true)
        try {
          decoder.read(Buffer.concat([Buffer.from(kind), bytes]))
        } catch (error) {
          assert.ok(error instanceof ProtocolError || error instanceof RangeError, String(error))
        }
      }),
    )
  })
})
