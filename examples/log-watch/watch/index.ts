import { gunzipSync } from 'node:zlib'

const { MAYFLY_URL, MAYFLY_KEY, ERRORS_A_MINUTE = '5' } = process.env
const MINUTE_MS = 60_000
const KEPT_MS = 60 * MINUTE_MS

interface Told {
  readonly logGroup: string
  readonly logEvents: readonly { readonly id: string; readonly timestamp: number; readonly message: string }[]
}
interface Row {
  readonly function: string
  readonly message: string
}

/** Lines of errors, as a subscription of CloudWatch Logs tells them. */
export const handler = async ({ awslogs }: { readonly awslogs: { readonly data: string } }) => {
  const { logGroup, logEvents } = JSON.parse(gunzipSync(Buffer.from(awslogs.data, 'base64')).toString()) as Told
  const name = logGroup.split('/').at(-1)
  const rows = logEvents.map(({ id, timestamp, message }) => ({
    id,
    function: name,
    at: new Date(timestamp).toISOString(),
    message: message.slice(0, 500),
  }))
  await ask('POST', '/rest/v1/log_errors?on_conflict=id', rows, { prefer: 'resolution=ignore-duplicates' })
  const now = Date.now()
  const since = new Date(now - MINUTE_MS).toISOString()
  const found = (await ask('GET', `/rest/v1/log_errors?select=function,message&at=gte.${since}&order=at.desc`)) as Row[]
  if (found.length >= Number(ERRORS_A_MINUTE)) {
    // The id lets a minute have one alert, however often this runs.
    const minute = new Date(now - (now % MINUTE_MS)).toISOString()
    const detail = { errors: found.length, since, last: found[0] }
    await ask('POST', '/events/v1', { source: 'log-watch', 'detail-type': 'errors.many', id: minute, detail })
  }
  await ask('DELETE', `/rest/v1/log_errors?at=lt.${new Date(now - KEPT_MS).toISOString()}`)
}

async function ask(method: string, at: string, body?: object, more: Record<string, string> = {}): Promise<unknown> {
  const headers = { apikey: MAYFLY_KEY ?? '', authorization: `Bearer ${MAYFLY_KEY}`, 'content-type': 'application/json', ...more }
  const response = await fetch(`${MAYFLY_URL}${at}`, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${at}: ${response.status} ${text}`)
  return text === '' ? null : JSON.parse(text)
}
