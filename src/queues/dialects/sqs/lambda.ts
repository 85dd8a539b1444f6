import type { Message } from '../../service.ts'
import { arnOf } from './attributes.ts'
import { type AttributeValue, md5, md5OfAttributes, type MessageAttributes } from './contents.ts'
import { systemAttributes } from './operations.ts'

const shown = ({ DataType, StringValue, BinaryValue }: AttributeValue) => ({
  ...(BinaryValue === undefined ? { stringValue: StringValue } : { binaryValue: BinaryValue }),
  stringListValues: [],
  binaryListValues: [],
  dataType: DataType,
})

/** A message as a function of Lambda gets it, one of the `Records` of its event. */
export function lambdaRecord(message: Message, queueName: string, region: string): Readonly<Record<string, unknown>> {
  const own = message.attributes === null ? null : (JSON.parse(message.attributes) as MessageAttributes)
  return {
    messageId: message.id,
    receiptHandle: message.receipt,
    body: message.body,
    attributes: systemAttributes(message, region),
    messageAttributes: Object.fromEntries(Object.entries(own ?? {}).map(([name, value]) => [name, shown(value)])),
    ...(own ? { md5OfMessageAttributes: md5OfAttributes(own) } : {}),
    md5OfBody: md5(message.body),
    eventSource: 'aws:sqs',
    eventSourceARN: arnOf(region, queueName),
    awsRegion: region,
  }
}
