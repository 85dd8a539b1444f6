import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ObjectEvent } from './match.ts'
import { s3Event } from './s3-event.ts'

const event: ObjectEvent = {
  id: '0199aaaa-0000-7000-8000-000000000000',
  bucket: 'avatars',
  event: 'created',
  happenedAt: new Date('2026-01-02T03:04:05.678Z'),
  key: 'a/b.jpg',
  size: 12,
  eTag: 'd41d8cd98f00b204e9800998ecf8427e',
  sequencer: '00000000000000AB',
  sourceAddress: '192.0.2.7',
}
const context = { region: 'us-east-1', projectRef: 'demo', triggerId: 't1' }
const objectOf = (of: Partial<ObjectEvent>) => s3Event({ ...event, ...of }, context).Records[0]?.s3.object

describe('s3Event', () => {
  it('is one record of the form that S3 sends', () => {
    const { Records } = s3Event(event, context)
    assert.equal(Records.length, 1)
    const [record] = Records
    assert.deepEqual(
      [record?.eventVersion, record?.eventSource, record?.awsRegion, record?.eventTime, record?.eventName],
      ['2.1', 'aws:s3', 'us-east-1', '2026-01-02T03:04:05.678Z', 'ObjectCreated:Put'],
    )
    assert.deepEqual(record?.s3.bucket, { name: 'avatars', ownerIdentity: { principalId: 'demo' }, arn: 'arn:aws:s3:::avatars' })
    assert.deepEqual(record?.s3.object, { key: 'a/b.jpg', size: 12, eTag: 'd41d8cd98f00b204e9800998ecf8427e', sequencer: '00000000000000AB' })
    assert.equal(record?.s3.configurationId, 't1')
    assert.deepEqual(record?.requestParameters, { sourceIPAddress: '192.0.2.7' })
    assert.deepEqual(s3Event({ ...event, sourceAddress: null }, context).Records[0]?.requestParameters, { sourceIPAddress: '0.0.0.0' })
  })
  it('says neither size nor eTag of what is removed', () => {
    const removed = s3Event({ ...event, event: 'removed' }, context).Records[0]
    assert.deepEqual([removed?.eventName, removed?.s3.object], ['ObjectRemoved:Delete', { key: 'a/b.jpg', sequencer: '00000000000000AB' }])
  })
  for (const [key, written] of [
    ['my photo.jpg', 'my+photo.jpg'],
    ['a+b/c d.jpg', 'a%2Bb/c+d.jpg'],
    ['100%.jpg', '100%25.jpg'],
    ["(1)!~'*.jpg", '%281%29%21%7E%27*.jpg'],
    ['사진/😀.png', '%EC%82%AC%EC%A7%84/%F0%9F%98%80.png'],
    ['half \ud800 pair', 'half+%EF%BF%BD+pair'],
  ] as const) {
    it(`writes the key ${JSON.stringify(key)} as a form does, and is read back by what clients do`, () => {
      assert.equal(objectOf({ key })?.key, written)
      assert.equal(decodeURIComponent(written.replaceAll('+', ' ')), key.toWellFormed())
    })
  }
})
