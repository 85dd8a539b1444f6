import type { KeptSettings } from '../../types.ts'
import { invalidParameter } from './errors.ts'
import { type Json, Violations } from './request.ts'
import { ARN_OR_EMPTY, choice, flag, list, object, type Of, take, text } from './shapes.ts'

const ARCHITECTURES = object({ Architectures: list(choice('x86_64', 'arm64'), 1, 1) })

/** Code runs on this machine: one that is made for another is refused. */
export function checkArchitectures(body: Json, own: string): void {
  const violations = new Violations()
  const { Architectures = [own] } = take(ARCHITECTURES, body, violations)
  violations.check()
  if (Architectures[0] !== own) throw invalidParameter(`Architectures: this node runs ${own} only.`)
}

/** What CreateFunction and UpdateFunctionConfiguration take beside what decides how code runs. */
export const KEPT = object({
  PackageType: choice('Zip', 'Image'),
  TracingConfig: object({ Mode: choice('Active', 'PassThrough') }),
  DeadLetterConfig: object({ TargetArn: text(10_000, ARN_OR_EMPTY) }),
  KMSKeyArn: text(10_000, ARN_OR_EMPTY),
  LoggingConfig: object({
    LogFormat: choice('JSON', 'Text'),
    ApplicationLogLevel: choice('TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'),
    SystemLogLevel: choice('DEBUG', 'INFO', 'WARN'),
    LogGroup: text(512, String.raw`[\.\-_/#A-Za-z0-9]+`, 1),
  }),
  SnapStart: object({ ApplyOn: choice('PublishedVersions', 'None') }),
  VpcConfig: object({
    SubnetIds: list(text(1024, 'subnet-[0-9a-z]*'), 16),
    SecurityGroupIds: list(text(1024, 'sg-[0-9a-zA-Z]*'), 5),
    Ipv6AllowedForDualStack: flag,
  }),
  FileSystemConfigs: list(object({ Arn: text(256), LocalMountPath: text(160, '/mnt/[a-zA-Z0-9-_.]+') }, ['Arn', 'LocalMountPath']), 1),
  ImageConfig: object({ EntryPoint: list(text(65_536), 1500), Command: list(text(65_536), 1500), WorkingDirectory: text(1000) }),
  CodeSigningConfigArn: text(200),
  PublishTo: choice('LATEST_PUBLISHED'),
})

const NOTHING: KeptSettings = { logging: null, tracing: 'PassThrough', deadLetterArn: null, snapStart: 'None', vpcCleared: false }

/**
 * Reads those fields: a member that is absent keeps what was there, one that is present and empty clears it.
 * @returns makes of what was kept before what is kept now; null when nothing was said
 * @throws LambdaError for what this platform cannot do, once all violations were told
 */
export function takeKept(
  body: Json,
  violations: Violations,
): { readonly refuse: () => void; readonly over: (before: KeptSettings | undefined) => KeptSettings } | null {
  const given = take(KEPT, body, violations)
  if (Object.keys(given).length === 0) return null
  return { refuse: () => refuse(given), over: (before = NOTHING) => merge(before, given) }
}

function refuse(given: Of<typeof KEPT>): void {
  const no = (field: string, why: string) => invalidParameter(`${field} is not supported by this version of Mayfly: ${why}`)
  if (given.PackageType === 'Image') throw no('PackageType Image', 'send a zip archive (Zip).')
  if (given.KMSKeyArn) throw no('KMSKeyArn', 'environments are sealed with a key of the project.')
  if ((given.VpcConfig?.SubnetIds ?? []).length > 0 || (given.VpcConfig?.SecurityGroupIds ?? []).length > 0)
    throw no('VpcConfig', 'functions have no network of their own that subnets and security groups could be of.')
  if ((given.FileSystemConfigs ?? []).length > 0) throw no('FileSystemConfigs', 'no file systems are mounted.')
  if (given.ImageConfig && Object.keys(given.ImageConfig).length > 0) throw no('ImageConfig', 'send a zip archive.')
  if (given.CodeSigningConfigArn !== undefined) throw no('CodeSigningConfigArn', 'code is not signed here.')
  if (given.PublishTo !== undefined) throw no('PublishTo', 'it is of functions with a capacity provider. Send Publish.')
  const letters = given.DeadLetterConfig?.TargetArn ?? ''
  if (letters !== '' && !/^arn:[^:]*:(sqs|sns):/.test(letters))
    throw invalidParameter('DeadLetterConfig.TargetArn must be the ARN of an SQS queue or an SNS topic.')
}

function merge(before: KeptSettings, given: Of<typeof KEPT>): KeptSettings {
  const letters = given.DeadLetterConfig?.TargetArn
  return {
    logging: given.LoggingConfig === undefined ? before.logging : logging(before.logging, given.LoggingConfig),
    tracing: (given.TracingConfig?.Mode as KeptSettings['tracing'] | undefined) ?? before.tracing,
    deadLetterArn: given.DeadLetterConfig === undefined ? before.deadLetterArn : letters || null,
    snapStart: (given.SnapStart?.ApplyOn as KeptSettings['snapStart'] | undefined) ?? before.snapStart,
    vpcCleared: before.vpcCleared || given.VpcConfig !== undefined,
  }
}

/** Levels are of the JSON form only: going back to Text drops them. */
function logging(before: KeptSettings['logging'], given: NonNullable<Of<typeof KEPT>['LoggingConfig']>): KeptSettings['logging'] {
  const format = (given.LogFormat as 'Text' | 'JSON' | undefined) ?? before?.format ?? 'Text'
  const group = given.LogGroup ?? before?.group ?? null
  if (format === 'Text') {
    if (given.ApplicationLogLevel !== undefined || given.SystemLogLevel !== undefined)
      throw invalidParameter('To use ApplicationLogLevel or SystemLogLevel, LogFormat must be JSON.')
    return { format, applicationLevel: null, systemLevel: null, group }
  }
  return {
    format,
    applicationLevel: given.ApplicationLogLevel ?? before?.applicationLevel ?? 'INFO',
    systemLevel: given.SystemLogLevel ?? before?.systemLevel ?? 'INFO',
    group,
  }
}

/** As GetFunctionConfiguration tells them, defaults included: tools compare what they sent with what they read. */
export function shownKept(name: string, kept: KeptSettings = NOTHING): Record<string, unknown> {
  const { logging: said } = kept
  return {
    TracingConfig: { Mode: kept.tracing },
    ...(kept.deadLetterArn === null ? {} : { DeadLetterConfig: { TargetArn: kept.deadLetterArn } }),
    ...(kept.vpcCleared ? { VpcConfig: { SubnetIds: [], SecurityGroupIds: [], VpcId: '', Ipv6AllowedForDualStack: false } } : {}),
    // No snapshots are made: a start is as fast without.
    SnapStart: { ApplyOn: kept.snapStart, OptimizationStatus: 'Off' },
    LoggingConfig: {
      LogFormat: said?.format ?? 'Text',
      ...(said?.applicationLevel ? { ApplicationLogLevel: said.applicationLevel } : {}),
      ...(said?.systemLevel ? { SystemLogLevel: said.systemLevel } : {}),
      LogGroup: said?.group ?? `/aws/lambda/${name}`,
    },
  }
}
