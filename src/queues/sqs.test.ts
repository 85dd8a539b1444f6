import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { changedSettings } from './dialects/sqs/attributes.ts'
import { checkBody, md5OfAttributes, messageAttributesOf, sizeOf } from './dialects/sqs/contents.ts'
import { asSqsError } from './dialects/sqs/errors.ts'
import { readForm, xmlReply } from './dialects/sqs/query.ts'
import { heldBy, receiptOf } from './receipt.ts'
import { MayflyError } from '../core/errors.ts'

describe('what SQS says', () => {
  it('holds settings to their bounds', () => {
    const most = { MaximumMessageSize: String(LIMITS.queueMessage.value), MessageRetentionPeriod: String(LIMITS.queueRetention.value) }
    assert.deepEqual(changedSettings({}, most), { maxMessageBytes: LIMITS.queueMessage.value, retentionSeconds: LIMITS.queueRetention.value })
    assert.throws(() => changedSettings({}, { MaximumMessageSize: String(LIMITS.queueMessage.value + 1) }), { type: 'InvalidAttributeValue' })
    assert.throws(() => changedSettings({}, { MessageRetentionPeriod: String(LIMITS.queueRetention.value + 1) }), { type: 'InvalidAttributeValue' })
    assert.throws(() => changedSettings({}, { constructor: '1' }), { type: 'InvalidAttributeName' })
    assert.throws(() => changedSettings({}, { Policy: '{}' }), { type: 'UnsupportedOperation' })
  })
  it('counts and digests attributes as clients do', () => {
    const attributes = messageAttributesOf({
      MessageAttributes: { b: { DataType: 'String', StringValue: 'é' }, a: { DataType: 'Binary', BinaryValue: 'AP8=' } },
    })
    assert.ok(attributes)
    assert.equal(sizeOf('x', attributes), 1 + (1 + 6 + 2) + (1 + 6 + 2))
    assert.match(md5OfAttributes(attributes), /^[0-9a-f]{32}$/)
    for (const name of ['AWS.x', '.a', 'a..b', 'a b'])
      assert.throws(() => messageAttributesOf({ MessageAttributes: { [name]: { DataType: 'String', StringValue: 'x' } } }))
    assert.throws(() => checkBody('\ud800'), { type: 'InvalidMessageContents' })
    checkBody('\u{10ffff}\t\r\n')
  })
  it('reads forms without touching what they name', () => {
    const { action, input } = readForm('Action=SendMessage&MessageAttribute.1.Name=__proto__&MessageAttribute.1.Value.StringValue=x&__proto__.polluted=1')
    assert.deepEqual([action, Object.keys(input.MessageAttributes as object)], ['SendMessage', ['__proto__']])
    assert.equal(({} as Record<string, unknown>).polluted, undefined)
    assert.throws(() => readForm('a.b.c.d.e.f.g.h.i.j=1'))
    assert.match(xmlReply('X', { Body: '<&\r>' }, 'id'), /<Body>&lt;&amp;&#xD;&gt;<\/Body>/)
  })
  it('knows receipts, and tells what is none', () => {
    const held = { queueId: '01890000-0000-7000-8000-000000000001', id: '01890000-0000-7000-8000-000000000002', receiveCount: 3 }
    assert.deepEqual(heldBy(receiptOf(held)), held)
    for (const text of ['', 'x', receiptOf(held).slice(1), receiptOf({ ...held, receiveCount: 0 }), 'é'.repeat(48)]) assert.equal(heldBy(text), null)
  })
  it('has words for the errors of the house', () => {
    assert.equal(asSqsError(new MayflyError('move_not_found', 'x')).status, 404)
    assert.equal(asSqsError(new MayflyError('queue_storage_full', 'x')).status, 429)
    assert.equal(asSqsError(new Error('secret')).message.includes('secret'), false)
  })
})
