import type { ProjectRef } from '../../core/project.ts'

/** One statement of a policy, as AddPermission makes it; a document that was put whole may hold more. */
export interface PolicyStatement {
  readonly Sid?: string
  readonly Effect: string
  readonly Principal: '*' | Readonly<Record<string, string | readonly string[]>>
  readonly Action: string | readonly string[]
  readonly Resource?: string | readonly string[]
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>
}

export interface PolicyDocument {
  readonly Version: string
  readonly Id?: string
  readonly Statement: readonly PolicyStatement[]
}

/** How calls from the queue are tried, and where their outcome is told; null where it was left open. */
export interface EventInvoke {
  readonly maxRetries: number | null
  readonly maxAgeSeconds: number | null
  readonly onSuccess: string | null
  readonly onFailure: string | null
}

export interface StoredEventInvoke extends EventInvoke {
  readonly qualifier: string
  readonly modifiedAt: Date
}

export interface RuntimeManagement {
  readonly updateOn: 'Auto' | 'Manual' | 'FunctionUpdate'
  readonly runtimeVersionArn: string | null
}

export type RecursiveLoop = 'Allow' | 'Terminate'

export interface EventSource {
  readonly id: string
  readonly functionName: string
  readonly qualifier: string | null
  readonly sourceArn: string | null
  readonly enabled: boolean
  readonly settings: Readonly<Record<string, unknown>>
  readonly tags: Readonly<Record<string, string>>
  readonly modifiedAt: Date
}

/** A mapping whose source is to be read for a function that is there. */
export interface ActiveSource extends Pick<EventSource, 'id' | 'functionName' | 'qualifier' | 'settings'> {
  readonly project: ProjectRef
  readonly functionId: string
  readonly sourceArn: string
}

/** What is remembered of a function: all that is asked for on the path of a call. */
export interface Remembered {
  readonly policies: ReadonlyMap<string, PolicyDocument>
  readonly eventInvokes: ReadonlyMap<string, EventInvoke>
  readonly loop: RecursiveLoop
}
