import { z } from 'zod'
import { isPlainText } from './plain-text.ts'

/** What may be said of triggers whose events come over HTTP. They stand with those of `trigger-spec.ts`. */

const unknownKeys = (what: string) => (issue: { code?: string; keys?: readonly string[] }) =>
  issue.code === 'unrecognized_keys' ? `unknown settings: ${(issue.keys ?? []).map((key) => `\`${key}\``).join(', ')}` : what

const PROVIDERS = ['generic', 'standard', 'github', 'stripe'] as const
const MOST_SECRETS = 5

const secretName = z
  .string({ error: 'must be the name of a secret of the project' })
  .regex(/^[a-zA-Z_][a-zA-Z0-9_]{0,127}$/, { error: 'must be the name of a secret of the project: 1 to 128 letters, digits and `_`' })

const headerName = (text: string) =>
  z
    .string({ error: 'must be the name of a header' })
    .regex(/^[A-Za-z0-9-]{1,100}$/, { error: 'must be the name of a header: 1 to 100 letters, digits and `-`' })
    .optional()
    .meta({ description: text })

const GENERIC_ONLY = ['header', 'encoding', 'prefix', 'idHeader'] as const

export const webhookTrigger = z
  .strictObject(
    {
      provider: z
        .enum(PROVIDERS, { error: 'must be `generic`, `standard`, `github` or `stripe`' })
        .default('generic')
        .meta({ description: 'How its sender signs: `standard` as Standard Webhooks says, `generic` an HMAC-SHA256 of the body in a header.' }),
      secret: z
        .union([secretName, z.array(secretName).min(1).max(MOST_SECRETS)], {
          error: `must be the name of a secret of the project, or a list of up to ${MOST_SECRETS} of which each is good`,
        })
        .meta({ description: 'The secret of the project by which it is signed; of several each is good, so that one can be replaced.' }),
      name: z
        .string({ error: 'must be a text' })
        .regex(/^[a-zA-Z0-9_-]{1,64}$/, { error: 'must be 1 to 64 letters, digits, `-` and `_`' })
        .optional()
        .meta({ description: 'The end of its address; that of its `provider` when absent.' }),
      header: headerName('Of `generic`: the header with the signature, `x-signature` when absent.'),
      encoding: z
        .enum(['hex', 'base64'], { error: 'must be `hex` or `base64`' })
        .optional()
        .meta({ description: 'Of `generic`: how the signature is written, `hex` when absent.' }),
      prefix: z
        .string({ error: 'must be a text such as `sha256=`' })
        .regex(/^[\x21-\x7e]{1,32}$/, { error: 'must be 1 to 32 characters such as `sha256=`' })
        .optional()
        .meta({ description: 'Of `generic`: what stands before the signature, such as `sha256=`.' }),
      idHeader: headerName('Of `generic`: the header with the id of a delivery; the same again starts nothing.'),
      events: z
        .array(z.string({ error: 'must be a text such as `push`' }).min(1).max(200).refine(isPlainText, { error: 'must not hold control characters' }), {
          error: 'must be a list of texts such as `push`',
        })
        .min(1, { error: 'must name at least one, or be left away' })
        .max(100, { error: 'must name at most 100' })
        .optional()
        .meta({ description: 'Of `github` and `stripe`: which events start it, such as `push` or `invoice.paid`; others are taken and dropped.' }),
    },
    { error: unknownKeys('must be an object with `secret`') },
  )
  .superRefine(({ provider, events, ...more }, context) => {
    for (const field of GENERIC_ONLY)
      if (provider !== 'generic' && more[field] !== undefined)
        context.addIssue({ code: 'custom', path: [field], message: 'is for the provider `generic` alone' })
    if (events !== undefined && provider !== 'github' && provider !== 'stripe')
      context.addIssue({ code: 'custom', path: ['events'], message: 'is for the providers `github` and `stripe` alone' })
  })

export type WebhookSpec = z.infer<typeof webhookTrigger>

export const webhookName = ({ name, provider }: Pick<WebhookSpec, 'name' | 'provider'>): string => name ?? provider

export function tidiedWebhook({ provider, secret, header, encoding, prefix, idHeader, events, ...more }: WebhookSpec): WebhookSpec {
  const [only, ...others] = [...new Set([secret].flat())]
  return {
    provider,
    secret: others.length === 0 && only !== undefined ? only : [...new Set([secret].flat())],
    name: webhookName({ provider, ...more }),
    ...(header === undefined ? {} : { header: header.toLowerCase() }),
    ...(encoding === undefined || encoding === 'hex' ? {} : { encoding }),
    ...(prefix === undefined ? {} : { prefix }),
    ...(idHeader === undefined ? {} : { idHeader: idHeader.toLowerCase() }),
    ...(events === undefined ? {} : { events: [...new Set(events)].toSorted() }),
  }
}
