import type { Command } from 'commander'
import type { Client } from '../client/client.ts'
import {
  type ApiKey,
  distrustIssuer,
  type KeyKind,
  legacyKeys,
  listIssuers,
  listKeys,
  newKey,
  revokeKey,
  revokeLegacyKeys,
  rotateKeys,
  trustIssuer,
} from '../client/keys.ts'
import { complain, dim, green, harmless, print, table, UsageError, yellow } from './output.ts'

interface Options {
  readonly overlap: string
  readonly reveal?: boolean
  readonly audience?: string
  readonly jwks?: string
  readonly yes?: boolean
  readonly json?: boolean
}

const HOURS: Readonly<Record<string, number>> = { m: 1 / 60, h: 1, d: 24, w: 168 }

/** `24h` and the like. @throws UsageError */
function hoursOf(text: string): number {
  if (text === '0') return 0
  const [, count, unit] = /^(\d{1,5})([mhdw])$/.exec(text) ?? []
  if (count === undefined || unit === undefined) throw new UsageError('--overlap: 0, or a number with m, h, d or w, such as 24h')
  return Number(count) * (HOURS[unit] as number)
}

function kindOf(what: string, text: string | undefined): KeyKind {
  if (text !== 'publishable' && text !== 'secret') throw new UsageError(`keys ${what}: say which kind, \`publishable\` or \`secret\``)
  return text
}

/** `mayfly keys …`: what opens a project. */
export function keysCommand<O>(
  command: (name: string, description: string) => Command,
  at: (options: O) => { readonly client: Client; readonly project: string },
): void {
  command(
    'keys [what] [which]',
    'keys of the project: `keys ls`, `keys new <kind>`, `keys rotate <kind> --overlap 24h`, `keys revoke <id>`; `keys legacy` (JWTs by a secret) and `keys legacy revoke --yes`; `keys issuers`, `keys trust <issuer> --audience <name> --jwks <url>` and `keys distrust <issuer>` (whose users it takes for its own)',
  )
    .option('--overlap <time>', 'of `rotate`: how long the former keys still hold, such as 30m, 24h or 7d; 0: not at all', '24h')
    .option('--reveal', 'of `ls`: shows secret keys in clear')
    .option('--audience <name>', 'of `trust`: whom its tokens must be for')
    .option('--jwks <url>', 'of `trust`: where its public keys are')
    .option('--yes', 'of `legacy revoke`: clients with those keys are turned away')
    .action(async (what: string | undefined, which: string | undefined, options: O & Options) => {
      const { json } = options
      switch (what) {
        case undefined:
        case 'ls': {
          const { client, project } = at(options)
          list(options, project, await listKeys(client, project, options.reveal === true))
          return
        }
        case 'new':
        case 'rotate': {
          const kind = kindOf(what, which)
          const overlap = hoursOf(options.overlap)
          const { client, project } = at(options)
          const made = what === 'new' ? await newKey(client, project, kind) : await rotateKeys(client, project, kind, overlap)
          if (json) return print(JSON.stringify(made))
          const others = overlap === 0 ? 'hold no more' : `hold for ${options.overlap} more`
          complain(green(what === 'new' ? `Made one more ${kind} key of ${project}:` : `Made a ${kind} key of ${project}; the former ones ${others}:`))
          return print(made.key)
        }
        case 'revoke': {
          if (which === undefined) throw new UsageError('keys revoke: say which, by the id that `keys ls` shows')
          const { client, project } = at(options)
          await revokeKey(client, project, which)
          return print(json ? JSON.stringify({ revoked: which }) : `Revoked ${harmless(which)}: it opens nothing any more.`)
        }
        case 'legacy': {
          if (which !== undefined && which !== 'revoke') throw new UsageError('keys legacy: there is `keys legacy` and `keys legacy revoke --yes`')
          if (which === 'revoke' && !options.yes)
            throw new UsageError('keys legacy revoke: clients with those keys are turned away, and users who signed in by them; say so with --yes')
          const { client, project } = at(options)
          if (which === 'revoke') {
            await revokeLegacyKeys(client, project)
            return print(json ? JSON.stringify({ revoked: 'legacy' }) : `The legacy keys of ${project} open nothing any more.`)
          }
          const keys = await legacyKeys(client, project)
          if (json) return print(JSON.stringify(keys))
          return print(`ANON_KEY=${keys.anonKey}\nSERVICE_ROLE_KEY=${keys.serviceRoleKey}\nJWT_SECRET=${keys.jwtSecret}`)
        }
        case 'issuers': {
          const { client, project } = at(options)
          const issuers = await listIssuers(client, project)
          if (json) return print(JSON.stringify({ project, issuers }))
          if (issuers.length === 0) return print(`The project ${project} trusts its own login alone.`)
          return print(
            table(
              ['ISSUER', 'AUDIENCE', 'KEYS AT'],
              issuers.map((one) => [harmless(one.issuer), harmless(one.audience), harmless(one.jwksUrl)]),
            ),
          )
        }
        case 'trust': {
          if (which === undefined || options.audience === undefined || options.jwks === undefined)
            throw new UsageError('keys trust: say its issuer, as its tokens do, with --audience and --jwks')
          const { client, project } = at(options)
          const unread = await trustIssuer(client, project, { issuer: which, audience: options.audience, jwksUrl: options.jwks })
          if (json) return print(JSON.stringify({ trusted: which, unread }))
          print(`${project} takes the users of ${harmless(which)} for its own.`)
          if (unread !== null) complain(yellow(`Its keys could not be read just now, and no token is believed until they can be: ${harmless(unread)}`))
          return
        }
        case 'distrust': {
          if (which === undefined) throw new UsageError('keys distrust: say which issuer')
          const { client, project } = at(options)
          await distrustIssuer(client, project, which)
          return print(json ? JSON.stringify({ distrusted: which }) : `${project} trusts ${harmless(which)} no more.`)
        }
        default:
          throw new UsageError(`keys ${what}: there is \`keys ls\`, \`new\`, \`rotate\`, \`revoke\`, \`legacy\`, \`issuers\`, \`trust\` and \`distrust\``)
      }
    })
}

const list = ({ json, reveal }: Options, project: string, keys: readonly ApiKey[]): void =>
  print(
    json
      ? JSON.stringify({ project, keys })
      : table(
          ['ID', 'KIND', 'KEY', 'MADE', 'ENDS'],
          keys.map((one) => [
            one.id,
            one.kind,
            reveal ? (one.key ?? one.shown) : one.shown,
            one.createdAt,
            one.endsAt === null ? dim('never') : yellow(one.endsAt),
          ]),
        ),
  )
