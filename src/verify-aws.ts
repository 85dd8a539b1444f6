import { type Auth, SignatureError, verifySigV4 } from './auth/index.ts'
import type { Principal } from './core/principal.ts'
import { LambdaError } from './functions/index.ts'
import { type AwsRequest, relayPrincipal, sameIdentity } from './gateway/index.ts'
import { SqsError } from './queues/index.ts'
import type { Clock } from './lib/clock.ts'
import type { RelayIdentity } from './sandbox/index.ts'

/** The same for a function at an address of its own: `from` is the function that a request came out of, if it came out of one. */
export async function verifyUrlSignature(
  auth: Auth,
  request: AwsRequest,
  from: Principal,
  clock: Clock,
): Promise<{ principal: Principal; accessKeyId: string }> {
  const principal = await verifyAws(auth, request, from.kind === 'function' ? from : null, clock)
  const named = /Credential=([^/,\s]+)\//.exec(request.headers.authorization ?? '') ?? /(?:^|&)X-Amz-Credential=([^/%&]+)/.exec(request.rawQuery)
  return { principal, accessKeyId: principal.kind === 'access-key' ? principal.keyId : (named?.[1] ?? '') }
}

/** Whose signature it is: an access key of a project, or on a relay the handle of its own function and no other. @throws LambdaError, SqsError */
export async function verifyAws(
  auth: Auth,
  request: AwsRequest,
  relay: RelayIdentity | null,
  clock: Clock,
  service: 'lambda' | 'sqs' = 'lambda',
): Promise<Principal> {
  try {
    if (relay) {
      const key = await verifySigV4(request, service, async (id) => auth.handleAccessKey(id), clock.now())
      if (!sameIdentity(key.owner, relay))
        throw new SignatureError('UnrecognizedClientException', 403, 'The security token included in the request is invalid.')
      return relayPrincipal(relay)
    }
    const key = await verifySigV4(request, service, (id) => auth.accessKey(id), clock.now())
    return { kind: 'access-key', project: key.project, keyId: key.id }
  } catch (error) {
    if (error instanceof SignatureError) throw inWordsOf(service, error)
    throw error
  }
}

/** What the older protocol of SQS calls these. */
const QUERY_CODES: Readonly<Record<string, string>> = {
  UnrecognizedClientException: 'InvalidClientTokenId',
  InvalidSignatureException: 'SignatureDoesNotMatch',
  MissingAuthenticationTokenException: 'MissingAuthenticationToken',
  IncompleteSignatureException: 'IncompleteSignature',
}

const inWordsOf = (service: 'lambda' | 'sqs', { type, status, message }: SignatureError) =>
  service === 'lambda' ? new LambdaError(type, status, message) : new SqsError(type, QUERY_CODES[type] ?? type, status, message)
