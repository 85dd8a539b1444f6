/** The events of the sources that functions are written for, as those sources write them. */

export interface EventWishes {
  readonly bucket?: string
  readonly key?: string
  readonly size?: number
  readonly body?: string
  readonly method?: string
  readonly path?: string
  /** `name: value`, as in HTTP. */
  readonly header?: readonly string[]
  /** Of the queue, topic, schedule or stream. */
  readonly source?: string
  readonly table?: string
  readonly schema?: string
  /** JSON objects. */
  readonly record?: string
  readonly old?: string
  readonly detailType?: string
}

/** Where and when it happens. */
export interface EventPlace {
  readonly nowMs: number
  readonly id: string
  readonly region: string
  readonly project: string
  readonly functionName: string
  /** Of some bytes, in hex. */
  readonly md5: (bytes: string) => string
  readonly gzip: (text: string) => Uint8Array
}

/** Wrong words of who asked. */
export class EventError extends Error {}

interface Kind {
  readonly what: string
  readonly takes: readonly (keyof EventWishes)[]
  readonly make: (wishes: EventWishes, place: EventPlace) => unknown
}

const ACCOUNT = '000000000000'
const iso = ({ nowMs }: EventPlace) => new Date(nowMs).toISOString()
/** Without milliseconds, as EventBridge writes times. */
const isoSeconds = (place: EventPlace) => `${iso(place).slice(0, 19)}Z`
const base64 = (text: string | Uint8Array) => Buffer.from(text).toString('base64')

/** As S3 writes keys: as a form does, a space as `+`, slashes as they are. */
const formEncoded = (key: string) =>
  encodeURIComponent(key.toWellFormed())
    .replaceAll(/[!~'()]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%2F', '/')
    .replaceAll('%20', '+')

const objectKind = (what: string, eventName: string): Kind => ({
  what,
  takes: ['bucket', 'key', 'size', 'body'],
  make: ({ bucket = 'uploads', key = 'example.txt', size, body = 'hello' }, place) => ({
    Records: [
      {
        eventVersion: '2.1',
        eventSource: 'aws:s3',
        awsRegion: place.region,
        eventTime: iso(place),
        eventName,
        userIdentity: { principalId: place.project },
        requestParameters: { sourceIPAddress: '127.0.0.1' },
        responseElements: { 'x-amz-request-id': place.id, 'x-amz-id-2': place.id },
        s3: {
          s3SchemaVersion: '1.0',
          configurationId: place.id,
          bucket: { name: bucket, ownerIdentity: { principalId: place.project }, arn: `arn:aws:s3:::${bucket}` },
          object: {
            key: formEncoded(key),
            ...(eventName.startsWith('ObjectCreated') ? { size: size ?? Buffer.byteLength(body), eTag: place.md5(body) } : {}),
            sequencer: place.nowMs.toString(16).toUpperCase().padStart(18, '0'),
          },
        },
      },
    ],
  }),
})

const headersOf = (lines: readonly string[], wanted: Readonly<Record<string, string>>) => {
  const headers: Record<string, string> = { ...wanted }
  for (const line of lines) {
    const mark = line.indexOf(':')
    if (mark < 1) throw new EventError(`--header ${line}: it is written as 'name: value'`)
    const name = line.slice(0, mark).trim().toLowerCase()
    const value = line.slice(mark + 1).trim()
    headers[name] = name in headers && !(name in wanted) ? `${headers[name]},${value}` : value
  }
  return headers
}

const HOST = 'localhost'
function requestOf({ method, path = '/', header = [], body }: EventWishes) {
  if (!path.startsWith('/')) throw new EventError(`--path ${path}: it begins with /`)
  const [rawPath = '/', ...rest] = path.split('?')
  const rawQuery = rest.join('?')
  const isJson = body !== undefined && /^\s*[[{]/.test(body)
  const headers = headersOf(header, {
    host: HOST,
    'user-agent': 'mayfly',
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-proto': 'http',
    'x-forwarded-port': '80',
    ...(body === undefined ? {} : { 'content-type': isJson ? 'application/json' : 'text/plain', 'content-length': String(Buffer.byteLength(body)) }),
  })
  const { cookie, ...plain } = headers
  return { method: (method ?? (body === undefined ? 'GET' : 'POST')).toUpperCase(), rawPath, rawQuery, headers: plain, cookies: cookie?.split('; ') ?? null }
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const logTime = (place: EventPlace) => {
  const text = iso(place)
  return `${text.slice(8, 10)}/${MONTHS[Number(text.slice(5, 7)) - 1]}/${text.slice(0, 4)}:${text.slice(11, 19)} +0000`
}

const http: Kind = {
  what: 'a request to a function URL (payload format 2.0)',
  takes: ['method', 'path', 'header', 'body'],
  make: (wishes, place) => {
    const { method, rawPath, rawQuery, headers, cookies } = requestOf(wishes)
    const query: Record<string, string> = {}
    for (const [name, value] of new URLSearchParams(rawQuery)) query[name] = name in query ? `${query[name]},${value}` : value
    return {
      version: '2.0',
      routeKey: '$default',
      rawPath,
      rawQueryString: rawQuery,
      ...(cookies ? { cookies } : {}),
      headers,
      ...(rawQuery === '' ? {} : { queryStringParameters: query }),
      requestContext: {
        accountId: 'anonymous',
        apiId: place.functionName,
        domainName: HOST,
        domainPrefix: place.functionName,
        http: { method, path: rawPath, protocol: 'HTTP/1.1', sourceIp: '127.0.0.1', userAgent: headers['user-agent'] ?? '' },
        requestId: place.id,
        routeKey: '$default',
        stage: '$default',
        time: logTime(place),
        timeEpoch: place.nowMs,
      },
      ...(wishes.body === undefined ? {} : { body: wishes.body }),
      isBase64Encoded: false,
    }
  },
}

const httpOfGateway: Kind = {
  what: 'a request by a REST API of API Gateway (payload format 1.0)',
  takes: ['method', 'path', 'header', 'body'],
  make: (wishes, place) => {
    const { method, rawPath, rawQuery, headers, cookies } = requestOf(wishes)
    const all = cookies ? { ...headers, cookie: cookies.join('; ') } : headers
    const query = new URLSearchParams(rawQuery)
    const lists = (pairs: Iterable<[string, string]>) => {
      const found: Record<string, string[]> = {}
      for (const [name, value] of pairs) found[name] = [...(found[name] ?? []), value]
      return found
    }
    return {
      version: '1.0',
      resource: '/{proxy+}',
      path: rawPath,
      httpMethod: method,
      headers: all,
      multiValueHeaders: lists(Object.entries(all)),
      queryStringParameters: rawQuery === '' ? null : Object.fromEntries(query),
      multiValueQueryStringParameters: rawQuery === '' ? null : lists(query),
      pathParameters: { proxy: rawPath.slice(1) },
      stageVariables: null,
      requestContext: {
        accountId: ACCOUNT,
        apiId: place.functionName,
        httpMethod: method,
        path: rawPath,
        protocol: 'HTTP/1.1',
        requestId: place.id,
        requestTime: logTime(place),
        requestTimeEpoch: place.nowMs,
        resourcePath: '/{proxy+}',
        stage: '$default',
        identity: { sourceIp: '127.0.0.1', userAgent: headers['user-agent'] },
      },
      body: wishes.body ?? null,
      isBase64Encoded: false,
    }
  },
}

const bridged = (detailType: string, source: string, detail: unknown, resources: readonly string[], place: EventPlace) => ({
  version: '0',
  id: place.id,
  'detail-type': detailType,
  source,
  account: ACCOUNT,
  time: isoSeconds(place),
  region: place.region,
  resources,
  detail,
})

function objectOf(text: string, what: string): object {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new EventError(`--${what}: it is not JSON: ${(error as Error).message}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new EventError(`--${what}: it must be a JSON object`)
  return value
}

const rowKind = (what: string, type: 'INSERT' | 'UPDATE' | 'DELETE'): Kind => ({
  what,
  takes: ['table', 'schema', 'record', 'old'],
  make: ({ table = 'items', schema = 'public', record, old }) => {
    const now = objectOf(record ?? '{"id": 1}', 'record')
    const before = objectOf(old ?? (type === 'INSERT' ? '{}' : (record ?? '{"id": 1}')), 'old')
    return { type, table, schema, record: type === 'DELETE' ? null : now, old_record: type === 'INSERT' ? null : before }
  },
})

/** DynamoDB's own way to write values. */
function attribute(value: unknown): object {
  if (typeof value === 'string') return { S: value }
  if (typeof value === 'number') return { N: String(value) }
  if (typeof value === 'boolean') return { BOOL: value }
  if (value === null || value === undefined) return { NULL: true }
  return Array.isArray(value) ? { L: value.map(attribute) } : { M: attributes(value) }
}
const attributes = (value: object) => Object.fromEntries(Object.entries(value).map(([name, one]) => [name, attribute(one)]))

/** The kinds of events, by the word that asks for each. */
export const EVENT_KINDS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ['http', http],
  ['http:v1', httpOfGateway],
  ['s3:put', objectKind('an object that came, as S3 tells it', 'ObjectCreated:Put')],
  ['s3:delete', objectKind('an object that went, as S3 tells it', 'ObjectRemoved:Delete')],
  [
    'schedule',
    {
      what: 'a time that has come, as EventBridge tells it',
      takes: ['source'],
      make: ({ source = 'every-minute' }, place) =>
        bridged('Scheduled Event', 'aws.events', {}, [`arn:aws:events:${place.region}:${ACCOUNT}:rule/${source}`], place),
    },
  ],
  [
    'bus',
    {
      what: 'an event of your own, as EventBridge tells it',
      takes: ['source', 'detailType', 'body'],
      make: ({ source = 'my.app', detailType = 'Something Happened', body = '{}' }, place) => bridged(detailType, source, objectOf(body, 'body'), [], place),
    },
  ],
  [
    'queue',
    {
      what: 'a message of a queue, as SQS tells it',
      takes: ['source', 'body'],
      // JSON, as functions of queues expect.
      make: ({ source = 'work', body = '{"to":"Ada"}' }, place) => ({
        Records: [
          {
            messageId: place.id,
            receiptHandle: base64(place.id),
            body,
            attributes: {
              ApproximateReceiveCount: '1',
              SentTimestamp: String(place.nowMs),
              SenderId: ACCOUNT,
              ApproximateFirstReceiveTimestamp: String(place.nowMs),
            },
            messageAttributes: {},
            md5OfBody: place.md5(body),
            eventSource: 'aws:sqs',
            eventSourceARN: `arn:aws:sqs:${place.region}:${ACCOUNT}:${source}`,
            awsRegion: place.region,
          },
        ],
      }),
    },
  ],
  [
    'topic',
    {
      what: 'a message of a topic, as SNS tells it',
      takes: ['source', 'body'],
      make: ({ source = 'news', body = 'hello' }, place) => {
        const topic = `arn:aws:sns:${place.region}:${ACCOUNT}:${source}`
        return {
          Records: [
            {
              EventVersion: '1.0',
              EventSubscriptionArn: `${topic}:${place.id}`,
              EventSource: 'aws:sns',
              Sns: {
                Type: 'Notification',
                MessageId: place.id,
                TopicArn: topic,
                Subject: null,
                Message: body,
                Timestamp: iso(place),
                SignatureVersion: '1',
                Signature: '',
                SigningCertUrl: '',
                UnsubscribeUrl: '',
                MessageAttributes: {},
              },
            },
          ],
        }
      },
    },
  ],
  ['row', rowKind('a row that came (as row:insert)', 'INSERT')],
  ['row:insert', rowKind('a row that came', 'INSERT')],
  ['row:update', rowKind('a row that changed', 'UPDATE')],
  ['row:delete', rowKind('a row that went', 'DELETE')],
  [
    'kinesis',
    {
      what: 'a record of a stream, as Kinesis tells it',
      takes: ['source', 'key', 'body'],
      make: ({ source = 'stream', key = 'partition', body = 'hello' }, place) => {
        const sequence = String(place.nowMs).padStart(56, '4')
        return {
          Records: [
            {
              kinesis: {
                kinesisSchemaVersion: '1.0',
                partitionKey: key,
                sequenceNumber: sequence,
                data: base64(body),
                approximateArrivalTimestamp: place.nowMs / 1000,
              },
              eventSource: 'aws:kinesis',
              eventVersion: '1.0',
              eventID: `shardId-000000000000:${sequence}`,
              eventName: 'aws:kinesis:record',
              invokeIdentityArn: `arn:aws:iam::${ACCOUNT}:role/any`,
              awsRegion: place.region,
              eventSourceARN: `arn:aws:kinesis:${place.region}:${ACCOUNT}:stream/${source}`,
            },
          ],
        }
      },
    },
  ],
  [
    'dynamodb',
    {
      what: 'an item that came, as DynamoDB tells it',
      takes: ['table', 'record', 'key'],
      make: ({ table = 'items', record = '{"id": "1"}', key = 'id' }, place) => {
        const image = attributes(objectOf(record, 'record'))
        return {
          Records: [
            {
              eventID: place.id,
              eventName: 'INSERT',
              eventVersion: '1.1',
              eventSource: 'aws:dynamodb',
              awsRegion: place.region,
              dynamodb: {
                ApproximateCreationDateTime: Math.floor(place.nowMs / 1000),
                Keys: { [key]: image[key] ?? { NULL: true } },
                NewImage: image,
                SequenceNumber: String(place.nowMs),
                SizeBytes: Buffer.byteLength(record),
                StreamViewType: 'NEW_AND_OLD_IMAGES',
              },
              eventSourceARN: `arn:aws:dynamodb:${place.region}:${ACCOUNT}:table/${table}/stream/${iso(place).slice(0, 23)}`,
            },
          ],
        }
      },
    },
  ],
  [
    'logs',
    {
      what: 'lines of a log, as CloudWatch tells them',
      takes: ['source', 'body'],
      make: ({ source = '/app', body = 'hello' }, place) => {
        const lines = {
          messageType: 'DATA_MESSAGE',
          owner: ACCOUNT,
          logGroup: source,
          logStream: 'stream',
          subscriptionFilters: ['all'],
          logEvents: body.split('\n').map((message, at) => ({ id: String(at), timestamp: place.nowMs, message })),
        }
        return { awslogs: { data: base64(place.gzip(JSON.stringify(lines))) } }
      },
    },
  ],
])

/** The event of a kind. @throws EventError: an unknown kind, or something that is not of it */
export function makeEvent(name: string, wishes: EventWishes, place: EventPlace): unknown {
  const kind = EVENT_KINDS.get(name)
  if (!kind) throw new EventError(`--event ${name}: there is ${[...EVENT_KINDS.keys()].join(', ')}`)
  const stray = (Object.keys(wishes) as (keyof EventWishes)[]).find((wish) => !kind.takes.includes(wish))
  if (stray !== undefined) {
    const flag = (wish: string) => `--${wish.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
    throw new EventError(`--event ${name} takes ${kind.takes.map(flag).join(', ')}, and no ${flag(stray)}`)
  }
  return kind.make(wishes, place)
}
