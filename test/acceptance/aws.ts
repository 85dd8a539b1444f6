import { LambdaClient } from '@aws-sdk/client-lambda'
import type { Ready } from './harness.ts'

// In a module of its own: to load the SDK takes as long as all else that a test file loads.
export const awsOf = (ready: Ready): LambdaClient =>
  new LambdaClient({
    endpoint: ready.url,
    region: ready.region,
    credentials: { accessKeyId: ready.accessKey.id, secretAccessKey: ready.accessKey.secret },
    maxAttempts: 1,
  })
