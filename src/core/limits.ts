import type { ErrorCode } from './errors.ts'
import { GiB, KiB, MiB } from '../lib/bytes.ts'

export interface Limit {
  value: number
  unit: 'bytes' | 'ms' | 'count' | 'MB' | 's' | '%'
  why: string
  /** Where the number comes from, when it is not our own. */
  source?: string
  /** What the one who meets it is told; null where nobody is (a buffer that drops and counts). */
  error: ErrorCode | null
  /** The test that goes to the edge and one past it. */
  provenBy: string
}

/** Every limit of the machine, with its unit and reason. docs/limits.md is made from it. */
export const LIMITS = {
  requestHeaders: {
    value: 32 * KiB,
    unit: 'bytes',
    why: 'headers are held in memory before anyone is known to be allowed to send them',
    error: 'bad_request',
    provenBy: 'src/gateway/listener.test.ts',
  },
  requestHeadTime: {
    value: 20_000,
    unit: 'ms',
    why: 'a client that never finishes its headers holds a connection',
    error: 'request_timeout',
    provenBy: 'test/acceptance/routes.test.ts',
  },
  bodyStall: {
    value: 30_000,
    unit: 'ms',
    why: 'a sender that stops in the middle of a body holds a connection and perhaps a sandbox',
    error: 'request_timeout',
    provenBy: 'src/gateway/body.test.ts',
  },
  bodyPace: {
    value: 1 * KiB,
    unit: 'bytes',
    why: 'so much of a body that is read whole has to come each second, over 30; who sends a byte now and then would hold a place for days',
    error: 'request_timeout',
    provenBy: 'src/gateway/body.test.ts',
  },
  refusedBody: {
    value: 16 * MiB,
    unit: 'bytes',
    why: 'so much of a refused body is read and thrown away, so that its sender can read the refusal',
    error: null,
    provenBy: 'src/gateway/listener.test.ts',
  },
  refusedBodyTime: {
    value: 2_000,
    unit: 'ms',
    why: 'a sender of a refused body who stops is not waited for',
    error: null,
    provenBy: 'src/gateway/listener.test.ts',
  },
  callDepth: {
    value: 16,
    unit: 'count',
    why: 'a function that calls itself through the platform would go on without end',
    source: 'AWS Lambda recursion detection',
    error: 'recursion_too_deep',
    provenBy: 'src/gateway/listener.test.ts',
  },
  managementBody: {
    value: 1 * MiB,
    unit: 'bytes',
    why: 'a management body is parsed in memory',
    error: 'payload_too_large',
    provenBy: 'test/acceptance/routes.test.ts',
  },
  invocationBody: {
    value: 6 * MiB,
    unit: 'bytes',
    why: 'the body of a Lambda call is held in memory once per running invocation',
    source: 'AWS Lambda quotas: 6 MB for a synchronous request',
    error: 'payload_too_large',
    provenBy: 'test/acceptance/functions.test.ts',
  },
  invocationReply: {
    value: 6 * MiB + 100,
    unit: 'bytes',
    why: 'the reply of a Lambda call is held in memory once',
    source: 'AWS Lambda: 6291556 bytes',
    error: null,
    provenBy: 'test/acceptance/functions.test.ts',
  },
  httpBody: {
    value: 100 * MiB,
    unit: 'bytes',
    why: 'a body streamed to a fetch handler keeps its sandbox busy for as long as it lasts',
    error: 'payload_too_large',
    provenBy: 'test/acceptance/functions.test.ts',
  },
  zippedCode: {
    value: 52_428_800,
    unit: 'bytes',
    why: 'an archive is held in memory while it is checked',
    source: 'AWS Lambda: 50 MB zipped',
    error: 'payload_too_large',
    provenBy: 'src/functions/service.test.ts',
  },
  unzippedCode: {
    value: 262_144_000,
    unit: 'bytes',
    why: 'every version lies unpacked on disk',
    source: 'AWS Lambda: 250 MB unzipped',
    error: 'zip_invalid',
    provenBy: 'src/functions/archive.test.ts',
  },
  archiveEntries: {
    value: 20_000,
    unit: 'count',
    why: 'each file costs an inode and a hard link per sandbox',
    error: 'zip_invalid',
    provenBy: 'src/functions/archive.test.ts',
  },
  invocationLog: {
    value: 1 * MiB,
    unit: 'bytes',
    why: 'a function that prints without end must not fill the log; head and tail are kept, the rest counted',
    error: null,
    provenBy: 'src/invoke/log.test.ts',
  },
  projectLog: {
    value: 1 * GiB,
    unit: 'bytes',
    why: 'the lines of one project must not fill the disk of all; past it the oldest go, and are counted; `--observe-project-log-mb` sets another',
    error: null,
    provenBy: 'src/observe/http.test.ts',
  },
  logRate: {
    value: 2 * MiB,
    unit: 'bytes',
    why: 'what functions of one project may write into the log each second, over time; more would crowd out the lines of others and is dropped and counted',
    error: null,
    provenBy: 'src/observe/rate.test.ts',
  },
  logBurst: {
    value: 16 * MiB,
    unit: 'bytes',
    why: 'so much may come at once before the rate counts: a few calls that print all they may',
    error: null,
    provenBy: 'src/observe/rate.test.ts',
  },
  logPage: { value: 10_000, unit: 'count', why: 'the lines of one answer are held in memory', error: 'bad_request', provenBy: 'src/observe/http.test.ts' },
  believedKeys: {
    value: 10_000,
    unit: 'count',
    why: 'what was learnt of keys, unknown ones too, is remembered for two seconds; floods of wrong keys must not fill the memory',
    error: null,
    provenBy: 'src/auth/service.test.ts',
  },
  relayConnections: {
    value: 128,
    unit: 'count',
    why: 'connections that one sandbox holds open to the platform at once; each may hold 256 KiB',
    error: null,
    provenBy: 'src/sandbox/channel.test.ts',
  },
  compileCache: {
    value: 64 * MiB,
    unit: 'bytes',
    why: 'code that loads at deploy writes its compile cache as it likes; what does not fit is not kept, and a version without a cache loads slower',
    error: null,
    provenBy: 'src/sandbox/compile-cache.test.ts',
  },
  compileCacheFiles: {
    value: 4_096,
    unit: 'count',
    why: 'files and folders of one compile cache; each costs an inode and a hard link per sandbox',
    error: null,
    provenBy: 'src/sandbox/compile-cache.test.ts',
  },
  sandboxWait: {
    value: 30_000,
    unit: 'ms',
    why: 'a call that finds no sandbox waits for one to be started or to become free; a long queue is better refused',
    error: 'too_many_invocations',
    provenBy: 'src/sandbox/start-queue.test.ts',
  },
  queuedPayload: {
    value: 1 * MiB,
    unit: 'bytes',
    why: 'what waits lies in the database',
    source: 'AWS Lambda quotas, asynchronous invocation',
    error: 'payload_too_large',
    provenBy: 'src/invoke/queue.test.ts',
  },
  queuedEntries: {
    value: 10_000_000,
    unit: 'count',
    why: 'a queue that only grows fills the disk long before anyone looks',
    error: 'queue_full',
    provenBy: 'src/invoke/queue.test.ts',
  },
  lostLeases: {
    value: 20,
    unit: 'count',
    why: 'an event that ends the node each time it runs must become a dead letter, while kills of a node use up no healthy one',
    error: null,
    provenBy: 'src/invoke/queue.test.ts',
  },
  deadLetterPage: {
    value: 1_000,
    unit: 'count',
    why: 'a page of dead letters is held in memory',
    error: 'bad_request',
    provenBy: 'src/invoke/http.test.ts',
  },
  rememberedVersions: {
    value: 10_000,
    unit: 'count',
    why: 'what a process remembers of a version it runs is small but must not grow without end; the longest unused is forgotten',
    error: null,
    provenBy: 'src/invoke/specs.test.ts',
  },
  concurrentInvocations: {
    value: 200,
    unit: 'count',
    why: 'each running invocation holds a sandbox',
    error: 'too_many_invocations',
    provenBy: 'src/invoke/admission.test.ts',
  },
  diskReserve: {
    value: 2 * GiB,
    unit: 'bytes',
    why: 'below this much free space nothing new is kept, below half of it nothing runs: PostgreSQL and deletes need room to work; `--disk-reserve-mb` sets another',
    error: 'storage_full',
    provenBy: 'src/core/disk.test.ts',
  },
  diskReserveShare: {
    value: 5,
    unit: '%',
    why: 'the same as a share of the file system, where that is more',
    error: 'storage_full',
    provenBy: 'src/core/disk.test.ts',
  },
  diskReserveMost: {
    value: 10,
    unit: '%',
    why: 'a small file system would be low from its first day; of none is more than this kept free',
    error: 'storage_full',
    provenBy: 'src/core/disk.test.ts',
  },
  diskSample: {
    value: 1_000,
    unit: 'ms',
    why: 'how old what is known of the free space may be; what one second can write fits into the reserve',
    error: null,
    provenBy: 'src/core/disk.test.ts',
  },
  ballast: {
    value: 64 * MiB,
    unit: 'bytes',
    why: 'given back when PostgreSQL cannot start on a full disk: room for a few segments of its log, of 16 MiB each',
    error: null,
    provenBy: 'src/core/disk.test.ts',
  },
} as const satisfies Record<string, Limit>
