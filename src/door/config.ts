import { type Infer, type Setting, text } from '../core/settings.ts'

const PORT = 'a port, 0 or off'

const port: Setting<number | 'off'> = {
  default: 0,
  doc: 'The port on which PostgreSQL clients reach the databases of projects; 0 means two above --port, or a free one. off: it is reached by `mayfly db psql` alone.',
  takes: PORT,
  parse: (given) => {
    const value = given === 'off' ? given : typeof given === 'number' ? given : typeof given === 'string' && /^\d{1,5}$/.test(given) ? Number(given) : -1
    if (value !== 'off' && !(Number.isInteger(value) && value >= 0 && value <= 65_535)) throw new RangeError(`must be ${PORT}`)
    return value
  },
}

export const doorSettings = {
  port,
  host: text({
    default: '127.0.0.1',
    doc: 'The address on which PostgreSQL clients are heard. Any but a loopback address demands --tls-cert and --tls-key, and no session begins without TLS there.',
    pattern: /^[0-9a-zA-Z.:-]+$/,
    takes: 'an address or host name',
  }),
}
export type DoorConfig = Infer<typeof doorSettings>
