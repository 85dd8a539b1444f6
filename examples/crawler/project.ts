import { SendMessageBatchCommand, SQSClient } from '@aws-sdk/client-sqs'
import { createClient } from '@supabase/supabase-js'

// A function finds its project in its environment.
const { SUPABASE_URL = '', SUPABASE_SERVICE_ROLE_KEY = '', AWS_ENDPOINT_URL = '' } = process.env

export const db = createClient(SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY, { auth: { persistSession: false } })
const sqs = new SQSClient({})

export interface Page {
  readonly url: string
  readonly site: string
}

const AT_ONCE = 100
const BATCH = 10

/** Sends pages that are due to the queue, until none is left. One that was marked and not sent is due again in an hour. */
export async function sendDue(): Promise<number> {
  for (let sent = 0; ; ) {
    const { data, error } = await db.rpc('take_due', { most: AT_ONCE })
    if (error) throw error
    const pages = data as readonly Page[]
    for (let at = 0; at < pages.length; at += BATCH) {
      const Entries = pages.slice(at, at + BATCH).map(({ url, site }, n) => ({ Id: String(n), MessageBody: JSON.stringify({ url, site }) }))
      const { Failed = [] } = await sqs.send(new SendMessageBatchCommand({ QueueUrl: `${AWS_ENDPOINT_URL}/000000000000/pages`, Entries }))
      if (Failed.length > 0) throw new Error(`not sent: ${Failed[0]?.Message}`)
    }
    sent += pages.length
    if (pages.length < AT_ONCE) return sent
  }
}
