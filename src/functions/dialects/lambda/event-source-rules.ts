import { invalidParameter } from './errors.ts'
import { DESTINATIONS } from './event-invoke.ts'
import { patternFault } from '../../../lib/event-pattern.ts'
import { ANY_ARN, ARN_OR_EMPTY, choice, date, flag, list, map, object, type Of, text, whole } from './shapes.ts'

const URI = text(200, String.raw`[ a-zA-Z0-9-\/*:_+=.@-]*`, 1)
const REGISTRY = object({
  SchemaRegistryURI: text(10_000, String.raw`[a-zA-Z0-9-\/*:_+=.@-]*`, 1),
  EventRecordFormat: choice('JSON', 'SOURCE'),
  AccessConfigs: list(
    object({ Type: choice('BASIC_AUTH', 'CLIENT_CERTIFICATE_TLS_AUTH', 'SERVER_ROOT_CA_CERTIFICATE', 'OAUTHBEARER_AUTH'), URI: text(10_000, ANY_ARN) }),
  ),
  SchemaValidationConfigs: list(object({ Attribute: choice('KEY', 'VALUE') })),
})
const ACCESS = choice(
  ...['BASIC_AUTH', 'VPC_SUBNET', 'VPC_SECURITY_GROUP', 'SASL_SCRAM_512_AUTH', 'SASL_SCRAM_256_AUTH', 'VIRTUAL_HOST', 'CLIENT_CERTIFICATE_TLS_AUTH'],
  ...['SERVER_ROOT_CA_CERTIFICATE', 'OAUTHBEARER_AUTH', 'OAUTHBEARER_SCOPE', 'OAUTHBEARER_AUDIENCE', 'OAUTHBEARER_LOGICAL_CLUSTER'],
  ...['OAUTHBEARER_IDENTITY_POOL', 'IAM_AUTH', 'IAM_OAUTHBEARER_AUTH'],
)

/** What an update may change. */
const CHANGEABLE = {
  BatchSize: whole(1, 10_000),
  FilterCriteria: object({ Filters: list(object({ Pattern: text(4096) })) }),
  KMSKeyArn: text(10_000, ARN_OR_EMPTY),
  MetricsConfig: object({ Metrics: list(choice('EventCount', 'ErrorCount', 'KafkaMetrics'), 3) }),
  LoggingConfig: object({ SystemLogLevel: choice('DEBUG', 'INFO', 'WARN') }),
  ScalingConfig: object({ MaximumConcurrency: whole(2, 1000) }),
  MaximumBatchingWindowInSeconds: whole(0, 300),
  ParallelizationFactor: whole(1, 10),
  DestinationConfig: DESTINATIONS,
  MaximumRecordAgeInSeconds: whole(-1, 604_800),
  BisectBatchOnFunctionError: flag,
  MaximumRetryAttempts: whole(-1, 10_000),
  TumblingWindowInSeconds: whole(0, 900),
  SourceAccessConfigurations: list(object({ Type: ACCESS, URI }), 23),
  FunctionResponseTypes: list(choice('ReportBatchItemFailures'), 1),
  AmazonManagedKafkaEventSourceConfig: object({ ConsumerGroupId: URI, SchemaRegistryConfig: REGISTRY }),
  SelfManagedKafkaEventSourceConfig: object({ ConsumerGroupId: URI, SchemaRegistryConfig: REGISTRY, ConsumptionMode: choice('Stream', 'Queue') }),
  DocumentDBEventSourceConfig: object({
    DatabaseName: text(63, String.raw`[^ /\.$\x22]*`, 1),
    CollectionName: text(57, String.raw`(^(?!(system\x2e)))(^[_a-zA-Z0-9])([^$]*)`, 1),
    FullDocument: choice('UpdateLookup', 'Default'),
  }),
  ProvisionedPollerConfig: object({ MinimumPollers: whole(1, 200), MaximumPollers: whole(1, 10_000), PollerGroupName: text(128, '[a-zA-Z0-9-_]*') }),
}
/** What is said once. */
const FIXED = {
  StartingPosition: choice('TRIM_HORIZON', 'LATEST', 'AT_TIMESTAMP'),
  StartingPositionTimestamp: date,
  Topics: list(text(249, String.raw`[^.]([a-zA-Z0-9\-_.]+)`, 1), 1, 1),
  Queues: list(text(1000, String.raw`[\s\S]*`, 1), 1, 1),
  SelfManagedEventSource: object({ Endpoints: map(list(text(300, undefined, 1), 10, 1), 2) }),
}
export const CREATE_EVENT_SOURCE = object(
  { EventSourceArn: text(10_000, ANY_ARN), FunctionName: text(256, undefined, 1), Enabled: flag, ...CHANGEABLE, ...FIXED },
  ['FunctionName'],
)
export const UPDATE_EVENT_SOURCE = object({ FunctionName: text(256, undefined, 1), Enabled: flag, ...CHANGEABLE })
export const SOURCE_SETTINGS = object({ ...CHANGEABLE, ...FIXED })
export type SourceSettings = Of<typeof SOURCE_SETTINGS>

/** Kinds of sources, as their settings differ. */
export type SourceKind = 'sqs' | 'kinesis' | 'dynamodb' | 'kafka' | 'mq' | 'documentdb'

/** @throws LambdaError when it is no source that Lambda reads */
export function kindOf(arn: string | null, settings: SourceSettings): SourceKind {
  if (arn === null) {
    if (settings.SelfManagedEventSource !== undefined) return 'kafka'
    throw invalidParameter('Event source ARN is required unless SelfManagedEventSource is given.')
  }
  const service = arn.split(':')[2] ?? ''
  const kinds: Readonly<Record<string, SourceKind>> = { sqs: 'sqs', kinesis: 'kinesis', dynamodb: 'dynamodb', kafka: 'kafka', mq: 'mq', rds: 'documentdb' }
  if (Object.hasOwn(kinds, service)) return kinds[service] as SourceKind
  throw invalidParameter(`Unrecognized event source, must be kinesis, dynamodb stream or sqs. Unsupported source arn : ${arn}`)
}

export const isStream = (kind: SourceKind): boolean => kind === 'kinesis' || kind === 'dynamodb'

/** What holds where nothing is said. */
export const defaultsOf = (kind: SourceKind): SourceSettings => ({
  BatchSize: kind === 'sqs' ? 10 : 100,
  MaximumBatchingWindowInSeconds: 0,
  FunctionResponseTypes: [],
  ...(isStream(kind)
    ? {
        ParallelizationFactor: 1,
        MaximumRecordAgeInSeconds: -1,
        MaximumRetryAttempts: -1,
        BisectBatchOnFunctionError: false,
        TumblingWindowInSeconds: 0,
        DestinationConfig: { OnFailure: {} },
      }
    : {}),
})

const STREAM_ONLY = [
  'ParallelizationFactor',
  'MaximumRecordAgeInSeconds',
  'MaximumRetryAttempts',
  'BisectBatchOnFunctionError',
  'TumblingWindowInSeconds',
] as const
const FILTERS = 5

/**
 * What one field alone does not tell.
 * @param given  what the request says; the defaults and what was there are in `settings`
 * @throws LambdaError InvalidParameterValueException
 */
export function checkSource(kind: SourceKind, arn: string | null, settings: SourceSettings, given: SourceSettings): void {
  checkPosition(kind, arn, settings)
  const { BatchSize = 0, MaximumBatchingWindowInSeconds = 0 } = settings
  if (kind === 'sqs') {
    if (arn?.endsWith('.fifo') && BatchSize > 10) throw invalidParameter('Batch size must be less than or equal to 10 for FIFO queues.')
    if (BatchSize > 10 && MaximumBatchingWindowInSeconds === 0)
      throw invalidParameter('Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10')
    if (arn?.endsWith('.fifo') && MaximumBatchingWindowInSeconds > 0) throw invalidParameter('Batching window is not supported for FIFO queues.')
  } else if (given.ScalingConfig?.MaximumConcurrency !== undefined) throw invalidParameter('ScalingConfig is only supported for SQS event sources.')
  if (!isStream(kind) && kind !== 'kafka') {
    for (const field of STREAM_ONLY) if (given[field] !== undefined) throw invalidParameter(`${field} is not supported for this event source type.`)
    if (given.DestinationConfig?.OnFailure?.Destination) throw invalidParameter('DestinationConfig is not supported for this event source type.')
  }
  const age = settings.MaximumRecordAgeInSeconds ?? -1
  if (age !== -1 && age < 60) throw invalidParameter('MaximumRecordAgeInSeconds must be -1 or from 60 to 604800.')
  if (given.DestinationConfig?.OnSuccess?.Destination) throw invalidParameter('DestinationConfig.OnSuccess is not supported for event source mappings.')
  const { MinimumPollers = 1, MaximumPollers = 10_000 } = settings.ProvisionedPollerConfig ?? {}
  if (MinimumPollers > MaximumPollers) throw invalidParameter('MinimumPollers must be less than or equal to MaximumPollers.')
  if (given.KMSKeyArn) throw invalidParameter('KMSKeyArn is not supported: filters are kept by this node alone.')
  checkFilters(settings)
}

function checkPosition(kind: SourceKind, arn: string | null, settings: SourceSettings): void {
  const { StartingPosition: position, StartingPositionTimestamp: at } = settings
  const asks = kind !== 'sqs' && kind !== 'mq'
  if (asks && position === undefined)
    throw invalidParameter("1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null.")
  if (!asks && position !== undefined) throw invalidParameter('StartingPosition is not valid for this event source type.')
  if (position === 'AT_TIMESTAMP' && kind !== 'kinesis' && kind !== 'kafka') throw invalidParameter(`Unsupported starting position for arn type: ${arn}`)
  if ((position === 'AT_TIMESTAMP') !== (at !== undefined)) throw invalidParameter('StartingPositionTimestamp must be given for AT_TIMESTAMP, and only then.')
}

function checkFilters(settings: SourceSettings): void {
  const fault = filterFault(settings)
  if (fault !== null) throw invalidParameter(fault)
}

export function filterFault(settings: SourceSettings): string | null {
  const filters = settings.FilterCriteria?.Filters ?? []
  if (filters.length > FILTERS) return `FilterCriteria: at most ${FILTERS} filters are allowed.`
  for (const { Pattern = '' } of filters) {
    let pattern: unknown
    try {
      pattern = JSON.parse(Pattern)
    } catch {
      return 'Invalid filter pattern definition.'
    }
    const fault = patternFault(pattern)
    if (fault !== null) return `Invalid filter pattern definition. ${fault}`
  }
  return null
}

/** Present and empty clears what may be absent. */
export function merged(before: SourceSettings, given: SourceSettings): SourceSettings {
  const after: Record<string, unknown> = { ...before, ...given }
  if (given.FilterCriteria && (given.FilterCriteria.Filters ?? []).length === 0) delete after.FilterCriteria
  if (given.KMSKeyArn === '') delete after.KMSKeyArn
  for (const field of ['ScalingConfig', 'ProvisionedPollerConfig', 'LoggingConfig'] as const)
    if (given[field] && Object.keys(given[field]).length === 0) delete after[field]
  if (given.MetricsConfig && (given.MetricsConfig.Metrics ?? []).length === 0) delete after.MetricsConfig
  if (given.DestinationConfig && !given.DestinationConfig.OnFailure?.Destination) after.DestinationConfig = { OnFailure: {} }
  return after as SourceSettings
}
