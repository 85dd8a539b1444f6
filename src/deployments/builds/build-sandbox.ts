import { policyOf } from '../../core/egress.ts'
import { type CallResult, type SandboxSpec, sandboxRuntime } from '../../sandbox/index.ts'

/** What differs between the sandboxes of a build. */
export interface BuildWork extends Pick<SandboxSpec, 'key' | 'codeDir' | 'handler' | 'environment' | 'openRelay' | 'timeoutMs' | 'memoryMb' | 'framework'> {
  /** What it is called in its own log and context. */
  readonly name: string
  /** By its name on Lambda. */
  readonly runtime: string
}

/** A sandbox of a deploy: used once, with no secret, no right and no network, and of no project. */
export const buildSpec = ({ name, runtime, environment, ...work }: BuildWork): SandboxSpec => ({
  ...work,
  runtime: sandboxRuntime(runtime),
  driver: null,
  optDir: null,
  environment: { HOME: '/tmp', LANG: 'en_US.UTF-8', ...environment },
  context: { functionName: name, functionVersion: name, functionArn: name, memoryMb: work.memoryMb, logGroup: name, logStream: name },
  tmpMb: work.memoryMb,
  egress: policyOf('none'),
  countEgress: () => {},
  relayPorts: [],
  concurrency: 1,
  reuse: 'never',
  identity: { project: '', functionName: name, version: name, role: 'none' },
})

/** @throws what `tooLarge` makes, when it has more bytes than `most` */
export async function wholeBody({ body }: Extract<CallResult, { kind: 'http' }>, most: number, tooLarge: () => Error): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.byteLength
    if (bytes > most) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
