import { LIMITS } from '../core/limits.ts'
import { count, flag, type Infer, list, megabytes, type Setting, text } from '../core/settings.ts'

export const MOST_WORKERS = 16
const WORKERS = `a whole number from 0 to ${MOST_WORKERS}, or auto`

/** How many workers a machine of so many cores is given by itself. */
export const usualWorkers = (cores: number): number => (cores <= 2 ? 0 : Math.min(MOST_WORKERS, Math.floor(cores / 2)))

const workersSetting: Setting<number | 'auto'> = {
  default: 'auto',
  doc: 'How many processes run functions beside the main one, each with sandboxes of its own; auto: none on one or two cores, else half as many as there are cores.',
  takes: WORKERS,
  parse: (given) => {
    const value = given === 'auto' ? given : typeof given === 'number' ? given : typeof given === 'string' && /^\d{1,2}$/.test(given) ? Number(given) : -1
    if (value !== 'auto' && !(Number.isInteger(value) && value >= 0 && value <= MOST_WORKERS)) throw new RangeError(`must be ${WORKERS}`)
    return value
  },
}

/** The settings of the node itself and its doors. */
export const nodeSettings = {
  data: text({ default: './.mayfly', doc: 'The data directory: everything the node keeps.', takes: 'a folder' }),
  host: text({
    default: '127.0.0.1',
    doc: 'The address to listen on. Any but a loopback address demands TLS or --behind-proxy.',
    pattern: /^[0-9a-zA-Z.:-]+$/,
    takes: 'an address or host name',
  }),
  port: count({ default: 54_321, min: 0, max: 65_535, doc: 'The port of the API. 0 takes a free one and remembers it in the data directory.' }),
  workers: workersSetting,
  consolePort: count({
    default: 0,
    min: 0,
    max: 65_535,
    doc: 'The port of the console; 0 means one above --port, or a free one with --port 0.',
  }),
  pauseAfterSeconds: count({
    default: 3_600,
    min: 0,
    max: 2_592_000,
    of: 'seconds',
    doc: 'A project that nobody uses for so long is paused: it has no server and no connection until its next request. 0: never by itself.',
  }),
  json: flag({ default: false, doc: 'Write one line of JSON on stdout when ready, and nothing else there.' }),
  empty: flag({ default: false, doc: 'On an empty data directory: make the default project and put nothing into it.' }),
  allowHost: list({ doc: 'Further host names that this node answers to.', takes: 'host names separated by commas' }),
  publicUrl: text({
    default: null,
    doc: 'What the world sees as the address of the API.',
    pattern: /^https?:\/\/[^\s/]+$/,
    takes: 'a URL without a path, such as https://api.example.com',
  }),
  domain: text({
    default: null,
    doc: 'Sites are served at `<site>.<project>.<domain>` too, and function URLs at `<id>.lambda-url.<domain>`, beside the names below localhost.',
    pattern: /^(?!.*localhost$)[a-z0-9-]+(\.[a-z0-9-]+)+$/,
    takes: 'a domain such as apps.example.com',
  }),
  consoleUrl: text({
    default: null,
    doc: 'What the world sees as the address of the console; give it a host name that serves nothing else.',
    pattern: /^https?:\/\/[^\s/]+$/,
    takes: 'a URL without a path, such as https://console.example.com',
  }),
  behindProxy: list({ doc: 'CIDR blocks of proxies whose forwarding headers are believed.', takes: 'CIDR blocks separated by commas' }),
  tlsCert: text({ default: null, doc: 'A PEM file with the certificate chain.', takes: 'a file' }),
  tlsKey: text({ default: null, doc: 'A PEM file with the private key.', takes: 'a file' }),
  instanceKey: text({
    default: null,
    doc: 'The instance key, 32 bytes in base64; instead of the file beside instance.json.',
    takes: '32 bytes in base64',
    secret: true,
  }),
  instanceKeyFile: text({ default: null, doc: 'A file that holds the instance key.', takes: 'a file' }),
  databaseUrl: text({
    default: null,
    doc: 'An external PostgreSQL (16 or newer) instead of the embedded one.',
    pattern: /^postgres(ql)?:\/\//,
    takes: 'a postgres:// URL',
    secret: true,
  }),
  databaseMemoryMb: megabytes({
    default: 0,
    min: 0,
    max: 100_000_000,
    doc: 'How much memory one embedded PostgreSQL server may have, held by the kernel where the node is root; at least 128 is wise. 0 means a quarter of the machine, at least 512.',
  }),
  diskReserveMb: megabytes({
    default: 0,
    min: 0,
    max: 100_000_000,
    doc: 'Free space below which deploys and uploads are refused; below half of it functions do not run. 0 means the larger of 2 GiB and 5 % of the file system, at most 10 % of it.',
  }),
  logLevel: text({
    default: 'info',
    doc: 'How much the node logs on stderr: debug, info, warn or error.',
    pattern: /^(debug|info|warn|error)$/,
    takes: 'debug, info, warn or error',
  }),
  drainMs: count({
    default: LIMITS.drainTime.value,
    min: 0,
    max: 900_000,
    of: 'milliseconds',
    doc: 'How long running requests may take to end when the node stops.',
  }),
}
export type NodeConfig = Infer<typeof nodeSettings>
