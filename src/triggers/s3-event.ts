import type { ObjectEvent } from './match.ts'

export interface S3Context {
  readonly region: string
  readonly projectRef: string
  readonly triggerId: string
}

/**
 * The event that a function gets of an object, one record each.
 * @see https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
 */
export function s3Event(event: ObjectEvent, { region, projectRef, triggerId }: S3Context) {
  const isThere = event.event === 'created'
  return {
    Records: [
      {
        eventVersion: '2.1',
        eventSource: 'aws:s3',
        awsRegion: region,
        eventTime: event.happenedAt.toISOString(),
        eventName: isThere ? 'ObjectCreated:Put' : 'ObjectRemoved:Delete',
        userIdentity: { principalId: projectRef },
        // A function has no address, and a statement of SQL none that is known here.
        requestParameters: { sourceIPAddress: event.sourceAddress ?? '0.0.0.0' },
        responseElements: { 'x-amz-request-id': event.id, 'x-amz-id-2': event.id },
        s3: {
          s3SchemaVersion: '1.0',
          configurationId: triggerId,
          bucket: { name: event.bucket, ownerIdentity: { principalId: projectRef }, arn: `arn:aws:s3:::${event.bucket}` },
          object: { key: formEncoded(event.key), ...(isThere ? { size: event.size, eTag: event.eTag } : {}), sequencer: event.sequencer },
        },
      },
    ],
  }
}

/** As S3 writes keys in events: percent-encoded as a form does, a space as `+`, slashes as they are. */
const formEncoded = (key: string): string =>
  encodeURIComponent(key.toWellFormed())
    .replaceAll(/[!~'()]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%2F', '/')
    .replaceAll('%20', '+')
