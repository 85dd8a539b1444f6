import { createHash, randomUUID } from 'node:crypto'
import type { FunctionRecord } from '../../builds.ts'
import { codeSha256 } from '../../service.ts'
import { functionArn } from './identifiers.ts'
import { shownKept } from './kept.ts'

/** `2026-11-24T02:25:40.000+0000` */
export const timestamp = (date: Date) => date.toISOString().replace('Z', '+0000')

/** What happens to a function, as waiters see it. The change is complete when the reply says that it runs. */
export type Progress = 'created' | 'updated' | 'settled' | 'listed'

export interface ConfigurationOptions {
  readonly region: string
  readonly architecture: string
  /** As asked: it is appended to the ARN as it came. */
  readonly qualifier: string | null
  readonly progress: Progress
}

const BEING_CREATED = 'The function is being created.'

/** FunctionConfiguration: every default is told, as tools compare what they sent with what they read. */
export function configuration(record: FunctionRecord, options: ConfigurationOptions): Record<string, unknown> {
  const { definition } = record
  return {
    FunctionName: record.name,
    FunctionArn: functionArn(options.region, record.name, options.qualifier),
    Runtime: definition.runtime,
    Role: definition.awsRole ?? 'arn:aws:iam::000000000000:role/mayfly',
    Handler: definition.handler,
    CodeSize: record.codeBytes,
    Description: definition.description,
    Timeout: definition.timeoutSeconds,
    MemorySize: definition.memoryMb,
    LastModified: timestamp(record.modifiedAt),
    CodeSha256: codeSha256(record),
    Version: record.version,
    ...(record.layers.length === 0 ? {} : { Layers: record.layers.map((layer, i) => ({ Arn: definition.layers[i], CodeSize: layer.codeBytes })) }),
    ...(record.environment === null ? {} : { Environment: { Variables: record.environment } }),
    ...shownKept(record.name, definition.kept),
    // The change is complete by now; what it was before it was complete is told once, to who made it.
    RevisionId: options.progress === 'created' || options.progress === 'updated' ? randomUUID() : record.revisionId,
    ...stateOf(record, options.progress),
    PackageType: 'Zip',
    Architectures: [options.architecture],
    EphemeralStorage: { Size: definition.tmpMb },
    ...(options.progress === 'listed'
      ? {}
      : {
          RuntimeVersionConfig: {
            RuntimeVersionArn: `arn:aws:lambda:${options.region}::runtime:${createHash('sha256').update(definition.runtime).digest('hex')}`,
          },
        }),
  }
}

function stateOf(record: FunctionRecord, progress: Progress): Record<string, unknown> {
  switch (progress) {
    case 'created':
      return {
        State: 'Pending',
        StateReason: BEING_CREATED,
        StateReasonCode: 'Creating',
      }
    case 'updated':
      return {
        State: 'Active',
        LastUpdateStatus: 'InProgress',
        LastUpdateStatusReason: BEING_CREATED,
        LastUpdateStatusReasonCode: 'Creating',
      }
    case 'settled':
      if (record.state === 'failed')
        return {
          State: 'Failed',
          StateReason: record.stateReason ?? 'The function failed.',
          StateReasonCode: 'InternalError',
          LastUpdateStatus: 'Failed',
        }
      if (record.state === 'pending')
        return {
          State: 'Pending',
          StateReason: BEING_CREATED,
          StateReasonCode: 'Creating',
        }
      if (record.refused !== null)
        return {
          State: 'Active',
          LastUpdateStatus: 'Failed',
          LastUpdateStatusReason: record.refused.reason,
          LastUpdateStatusReasonCode: record.refused.code,
        }
      return { State: 'Active', LastUpdateStatus: 'Successful' }
    case 'listed':
      return {}
  }
}
