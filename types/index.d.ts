/** What a function of Mayfly may be. Only types: `import type { Handler } from '@mayfly/functions'`. */

/** What a Lambda handler gets beside its event. */
export interface Context {
  readonly functionName: string
  /** The number of a published version, or `$LATEST`. */
  readonly functionVersion: string
  readonly invokedFunctionArn: string
  readonly memoryLimitInMB: string
  /** The same in each attempt of one call: what to give to services that take an idempotency key. */
  readonly awsRequestId: string
  readonly logGroupName: string
  readonly logStreamName: string
  readonly clientContext?: unknown
  callbackWaitsForEmptyEventLoop: boolean
  /** Milliseconds until its timeout. */
  getRemainingTimeInMillis(): number
}

/** A Lambda handler: `export const handler: Handler<Event, Result> = async (event, context) => …`. */
export type Handler<Event = unknown, Result = unknown> = (event: Event, context: Context) => Result | Promise<Result>

/** What a web-standard handler gets beside the request. */
export interface FetchContext {
  /** The call is not over before the promise is: its answer may be sent already. */
  waitUntil(promise: Promise<unknown>): void
  readonly awsRequestId: string
  getRemainingTimeInMillis(): number
}

/** The environment of the function, with the way to its own project. */
export type Environment = Readonly<Record<string, string | undefined>> & {
  /** The API of the function's project, and its key there; they lead nowhere from elsewhere. */
  readonly MAYFLY_URL?: string
  readonly MAYFLY_KEY?: string
}

/** A web-standard handler: `export default { fetch(request, env, context) { … } } satisfies FetchHandler`. */
export interface FetchHandler {
  fetch(request: Request, env: Environment, context: FetchContext): Response | Promise<Response>
}

/** A request as a Lambda handler gets it: a function URL's event, payload format 2.0. */
export interface HttpEvent {
  readonly version: '2.0'
  readonly routeKey: string
  readonly rawPath: string
  readonly rawQueryString: string
  readonly cookies?: readonly string[]
  /** Names in small letters; several lines of one name are joined by commas. */
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly queryStringParameters?: Readonly<Record<string, string | undefined>>
  readonly requestContext: {
    readonly accountId: string
    readonly apiId: string
    readonly domainName: string
    readonly domainPrefix: string
    readonly http: { readonly method: string; readonly path: string; readonly protocol: string; readonly sourceIp: string; readonly userAgent: string }
    readonly requestId: string
    readonly routeKey: string
    readonly stage: string
    readonly time: string
    readonly timeEpoch: number
  }
  readonly body?: string
  readonly isBase64Encoded: boolean
}

/** What a Lambda handler answers over HTTP; anything else it returns is the body of a 200. */
export interface HttpResult {
  readonly statusCode: number
  readonly headers?: Readonly<Record<string, string | number | boolean>>
  readonly cookies?: readonly string[]
  readonly body?: string
  readonly isBase64Encoded?: boolean
}
export type HttpHandler = Handler<HttpEvent, HttpResult | string>

/** Objects of a bucket that came or went, in the form of S3: the keys are encoded, a space is `+`. */
export interface ObjectEvent {
  readonly Records: readonly {
    readonly eventName: string
    readonly eventTime: string
    readonly s3: {
      readonly bucket: { readonly name: string; readonly arn: string }
      readonly object: { readonly key: string; readonly size?: number; readonly eTag?: string; readonly sequencer: string }
    }
  }[]
}
export type ObjectHandler = Handler<ObjectEvent, unknown>

/** A time that has come. */
export interface ScheduleEvent {
  /** The same for each attempt. */
  readonly id: string
  readonly 'detail-type': 'Scheduled Event'
  /** ISO 8601. */
  readonly time: string
  readonly resources: readonly string[]
}
export type ScheduleHandler = Handler<ScheduleEvent, unknown>

/** Messages of a queue, one or more. */
export interface QueueEvent {
  readonly Records: readonly {
    readonly messageId: string
    readonly body: string
    readonly attributes: Readonly<Record<string, string>>
    readonly eventSourceARN: string
  }[]
}

/** Those that are to come again; all others are done. */
export interface QueueResult {
  readonly batchItemFailures: readonly { readonly itemIdentifier: string }[]
}
export type QueueHandler = Handler<QueueEvent, QueueResult | undefined>
