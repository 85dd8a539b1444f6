import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import dns from 'dns-packet'
import fc from 'fast-check'
import { addressesIn, answerOf, packetSizeOf, questionOf } from './answers.ts'

const query = (name: string, type: dns.RecordType = 'A', more: dns.Packet = {}) =>
  Buffer.from(dns.encode({ type: 'query', id: 7, flags: dns.RECURSION_DESIRED, questions: [{ name, type }], ...more }))
const answers = (name: string, all: dns.StringAnswer[], type: dns.RecordType = 'A') =>
  Buffer.from(dns.encode({ type: 'response', id: 7, questions: [{ name, type }], answers: all }))
const a = (name: string, data: string, ttl = 60): dns.StringAnswer => ({ type: 'A', name, data, ttl })
const alias = (name: string, data: string): dns.StringAnswer => ({ type: 'CNAME', name, data, ttl: 60 })

describe('questions for names', () => {
  it('are taken where they ask one thing, by a name of a host or a service', () => {
    assert.deepEqual(questionOf(query('Api.example.com')), { name: 'Api.example.com', type: 'A' })
    assert.deepEqual(questionOf(query('_imaps._tcp.example.com', 'SRV')), { name: '_imaps._tcp.example.com', type: 'SRV' })
    const two = Buffer.from(
      dns.encode({
        type: 'query',
        id: 1,
        questions: [
          { name: 'a.b', type: 'A' },
          { name: 'c.d', type: 'A' },
        ],
      }),
    )
    const other = Buffer.from(dns.encode({ type: 'query', id: 1, flags: 4 << 11, questions: [{ name: 'a.b', type: 'A' }] }))
    const chaos = Buffer.from(dns.encode({ type: 'query', id: 1, questions: [{ name: 'a.b', type: 'A', class: 'CH' }] }))
    for (const wrong of [two, other, chaos, answers('a.b', []), query('a b.example.com'), query('bücher.example'), Buffer.alloc(0), Buffer.alloc(12)])
      assert.equal(questionOf(wrong), null)
    // A dot within a label: another name than it reads.
    const dotted = Buffer.concat([query('x').subarray(0, 12), Buffer.from('\x0fapi.example.com\0\0\x01\0\x01')])
    assert.equal(questionOf(dotted), null)
  })
  it('are answered with themselves, and nothing else that came with them', () => {
    const asked = query('a.example.com', 'TXT', {
      additionals: [{ type: 'OPT', name: '.', udpPayloadSize: 1232, flags: 0, options: [] }] as unknown as dns.Answer[],
    })
    assert.equal(packetSizeOf(asked), 1232)
    assert.equal(packetSizeOf(query('a.example.com')), 512)
    for (const [how, code] of [
      ['NXDOMAIN', 'NXDOMAIN'],
      ['NOERROR', 'NOERROR'],
      ['SERVFAIL', 'SERVFAIL'],
      ['CUT', 'NOERROR'],
    ] as const) {
      const answer = dns.decode(answerOf(asked, how)) as dns.DecodedPacket & { rcode: string }
      assert.deepEqual([answer.id, answer.type, answer.rcode, answer.flag_tc, answer.flag_ra], [7, 'response', code, how === 'CUT', true])
      assert.deepEqual([answer.questions?.[0]?.name, answer.answers, answer.additionals], ['a.example.com', [], []])
    }
  })
  it('may be any bytes', () => {
    const any = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))
    const bent = fc
      .tuple(fc.constantFrom(query('api.example.com'), query('a.b', 'TXT')), fc.array(fc.tuple(fc.nat(40), fc.nat(255)), { maxLength: 6 }))
      .map(([from, changes]) => {
        const packet = Buffer.from(from)
        for (const [at, to] of changes) packet[at % packet.length] = to
        return packet
      })
    fc.assert(
      fc.property(fc.oneof(any, bent), (packet) => {
        if (questionOf(packet) !== null) for (const how of ['NXDOMAIN', 'CUT'] as const) assert.ok(answerOf(packet, how).length <= packet.length)
        addressesIn(packet, { name: 'api.example.com', type: 'A' })
      }),
    )
  })
})

describe('addresses in an answer', () => {
  const asked = { name: 'api.example.com', type: 'A' }
  it('are those of the name that was asked for, over its aliases, in any order', () => {
    const found = addressesIn(
      answers('API.example.com', [a('c.example.net', '1.2.3.4', 5), alias('b.example.net', 'c.example.net'), alias('api.example.com', 'B.example.net')]),
      asked,
    )
    assert.deepEqual(found, [{ address: '1.2.3.4', seconds: 5 }])
    assert.deepEqual(addressesIn(answers('api.example.com', [a('api.example.com', '1.2.3.4'), a('other.example.com', '5.6.7.8')]), asked), [
      { address: '1.2.3.4', seconds: 60 },
    ])
    assert.deepEqual(addressesIn(answers('api.example.com', []), asked), [])
  })
  it('are none of an answer to another question, or one that names what nobody reaches', () => {
    assert.equal(addressesIn(answers('evil.example.com', [a('api.example.com', '1.2.3.4')]), asked), null)
    assert.equal(addressesIn(answers('api.example.com', [a('api.example.com', '1.2.3.4')], 'TXT'), asked), null)
    assert.equal(addressesIn(query('api.example.com'), asked), null)
    assert.equal(addressesIn(answers('api.example.com', [a('api.example.com', '1.2.3.4'), a('api.example.com', '10.0.0.1')]), asked), null)
    assert.equal(addressesIn(answers('api.example.com', [a('stuffed.example.com', '169.254.169.254')]), asked), null)
  })
  it('are none where there are very many records, of which each may have a name that takes long to read', () => {
    const many = (count: number) => Array.from({ length: count }, (_, i) => a('api.example.com', `1.2.${i >> 8}.${i & 255}`))
    assert.equal(addressesIn(answers('api.example.com', many(255)), asked)?.length, 255)
    assert.equal(addressesIn(answers('api.example.com', many(256)), asked), null)
    assert.equal(addressesIn(Buffer.alloc(11), asked), null)
    // Each name is gone through once, however many lead to it.
    const fan = Array.from({ length: 120 }, (_, i) => [alias('api.example.com', `n${i}.example`), alias(`n${i}.example`, 'end.example')]).flat()
    assert.deepEqual(addressesIn(answers('api.example.com', [...fan, a('end.example', '1.2.3.4')]), asked), [{ address: '1.2.3.4', seconds: 60 }])
  })
  it('end where aliases go in circles', () => {
    const circle = [alias('api.example.com', 'b.example.net'), alias('b.example.net', 'api.example.com')]
    assert.deepEqual(addressesIn(answers('api.example.com', circle), asked), [])
  })
})
