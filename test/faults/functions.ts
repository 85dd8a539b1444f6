import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import path from 'node:path'
import { promisify } from 'node:util'
import { CreateQueueCommand, SQSClient } from '@aws-sdk/client-sqs'
import { type Ready, ROOT, zipOf } from '../acceptance/harness.ts'

export const QUEUE = 'work'
export const DEAD = 'work-dead'
export const BUCKET = 'in'

/** Each execution tells the recorder before it ends; some fail then, as their event asks. */
const code = (recorder: string) => `import { randomUUID } from 'node:crypto'
const toldIn = (event) => {
  if (event.Records) return event.Records.map((one) => (one.eventSource === 'aws:sqs' ? JSON.parse(one.body) : { id: decodeURIComponent(one.s3.object.key) }))
  if (event['detail-type'] === 'Scheduled Event') return [{ id: 'tick ' + event.time }]
  return [event.record ?? event.detail ?? event]
}
export const handler = async (event, context) => {
  const told = toldIn(event)
  const [{ key, sequence }] = told
  const run = { function: context.functionName, invocation: context.awsRequestId, run: randomUUID(), ids: told.map(({ id }) => id), key, sequence }
  const { runs } = await tell(run)
  const failed = told.map(({ fails }, at) => fails === 'always' || (fails === 'first' && runs[at] === 1))
  if (event.Records?.[0].messageId) return { batchItemFailures: event.Records.filter((_, at) => failed[at]).map(({ messageId }) => ({ itemIdentifier: messageId })) }
  if (failed.includes(true)) throw new Error('as asked')
}
async function tell(run) {
  for (let tries = 1; ; tries++) {
    try {
      const answer = await fetch(${JSON.stringify(recorder)}, { method: 'POST', body: JSON.stringify(run) })
      return await answer.json()
    } catch (error) {
      if (tries === 5) throw error
      await new Promise((resolve) => setTimeout(resolve, 100 * tries))
    }
  }
}
`

interface Made {
  readonly name: string
  readonly async?: object
  readonly triggers?: readonly object[]
}
const RETRIES = { maxAttempts: 3, retryAfter: 0 }
/** One function for each way in. */
export const FUNCTIONS: readonly Made[] = [
  { name: 'calls', async: RETRIES },
  { name: 'ordered', async: { ...RETRIES, orderBy: 'key' } },
  { name: 'sql', async: RETRIES },
  { name: 'objects', async: RETRIES, triggers: [{ object: { bucket: BUCKET, events: ['created'] } }] },
  { name: 'rows', async: RETRIES, triggers: [{ row: { table: 'public.notes', events: ['insert'] } }] },
  { name: 'events', async: RETRIES, triggers: [{ bus: { pattern: { 'detail-type': ['made'] } } }] },
  { name: 'messages', triggers: [{ queue: { name: QUEUE, batchSize: 10 } }] },
  { name: 'ticks', async: RETRIES, triggers: [{ schedule: { every: 1, missed: 'all' } }] },
]

const SQL = `create table if not exists public.notes (id text primary key, fails text);
grant all on public.notes to service_role;
create or replace function public.tell(told jsonb) returns int language plpgsql security definer set search_path = '' as $f$
  declare one jsonb;
  begin
    for one in select jsonb_array_elements(told) loop perform mayfly.invoke('sql', one); end loop;
    return jsonb_array_length(told);
  end $f$;
revoke all on function public.tell(jsonb) from public;
grant execute on function public.tell(jsonb) to service_role;`

/** What the management API answers to the project's secret key. @throws Error with what it said */
export async function manage<T>(ready: Ready, method: string, at: string, body?: object | Buffer): Promise<T> {
  const response = await fetch(`${ready.url}/api/v1/projects/${ready.project.ref}${at}`, {
    method,
    headers: { authorization: `Bearer ${ready.project.secretKey}` },
    signal: AbortSignal.timeout(60_000),
    ...(body === undefined ? {} : { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${at}: ${response.status} ${text}`)
  return (text === '' ? {} : JSON.parse(text)) as T
}

/** Makes functions, table, bucket, queues and triggers of the default project. */
export async function deploy(ready: Ready, data: string, recorder: { readonly host: string; readonly port: number }): Promise<void> {
  const zip = await zipOf({ 'index.mjs': code(`http://${recorder.host}:${recorder.port}/`) })
  const artefact = createHash('sha256').update(zip).digest('hex')
  await manage(ready, 'PUT', `/artefacts/${artefact}`, zip)
  // Beside this process, which may be what carries the node's connections to its database.
  await promisify(execFile)(process.execPath, [path.join(ROOT, 'bin', 'mayfly.js'), 'db', 'psql', '--data', data, '-c', SQL], {
    env: { ...process.env, MAYFLY_PROFILE: '' },
  })
  const bucket = await fetch(`${ready.project.url}/storage/v1/bucket`, {
    method: 'POST',
    headers: { apikey: ready.project.secretKey, authorization: `Bearer ${ready.project.secretKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ id: BUCKET, name: BUCKET }),
  })
  if (!bucket.ok) throw new Error(await bucket.text())
  await makeQueues(ready)
  const egress = recorder.host.startsWith('127.') ? 'none' : [`${recorder.host}:${recorder.port}`]
  for (const { name, async, triggers = [] } of FUNCTIONS) {
    await manage(ready, 'PUT', `/functions/${name}`, { artefact, timeout: 30, memory: 128, egress, ...(async ? { async } : {}) })
    if (triggers.length > 0) await manage(ready, 'PUT', `/functions/${name}/triggers`, { triggers })
  }
}

/** A message that fails in each try comes again after so many seconds, so often. */
const HIDDEN_SECONDS = 3
const RECEIPTS = 4

async function makeQueues({ url: endpoint, region, accessKey }: Ready): Promise<void> {
  const sqs = new SQSClient({ endpoint, region, credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret } })
  await sqs.send(new CreateQueueCommand({ QueueName: DEAD }))
  const deadLetterTargetArn = `arn:aws:sqs:${region}:000000000000:${DEAD}`
  const Attributes = { VisibilityTimeout: String(HIDDEN_SECONDS), RedrivePolicy: JSON.stringify({ deadLetterTargetArn, maxReceiveCount: RECEIPTS }) }
  await sqs.send(new CreateQueueCommand({ QueueName: QUEUE, Attributes }))
  sqs.destroy()
}
