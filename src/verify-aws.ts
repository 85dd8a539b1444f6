import { type Auth, SignatureError, verifySigV4 } from './auth/index.ts'
import type { Principal } from './core/principal.ts'
import { LambdaError } from './functions/index.ts'
import { type AwsRequest, relayPrincipal, sameIdentity } from './gateway/index.ts'
import type { Clock } from './lib/clock.ts'
import type { RelayIdentity } from './sandbox/index.ts'

/** Whose signature it is: an access key of a project, or on a relay the handle of its own function and no other. @throws LambdaError */
export async function verifyAws(auth: Auth, request: AwsRequest, relay: RelayIdentity | null, clock: Clock): Promise<Principal> {
  try {
    if (relay) {
      const key = await verifySigV4(request, 'lambda', async (id) => auth.handleAccessKey(id), clock.now())
      if (!sameIdentity(key.owner, relay)) throw new LambdaError('UnrecognizedClientException', 403, 'The security token included in the request is invalid.')
      return relayPrincipal(relay)
    }
    const key = await verifySigV4(request, 'lambda', (id) => auth.accessKey(id), clock.now())
    return { kind: 'access-key', project: key.project, keyId: key.id }
  } catch (error) {
    if (error instanceof SignatureError) throw new LambdaError(error.type, error.status, error.message)
    throw error
  }
}
