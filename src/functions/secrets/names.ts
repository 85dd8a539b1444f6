import { MayflyError } from '../../core/errors.ts'

const NAME = /^[a-zA-Z_][a-zA-Z0-9_]{0,127}$/
export const SECRET_NAME_RULE = 'must be 1 to 128 letters, digits and `_`, not beginning with a digit'

/** What the platform itself says to functions: a secret of such a name would be hidden by it, or hide it. */
const RESERVED_HEADS = ['AWS_', 'LAMBDA_', 'MAYFLY_', 'SB_', 'SUPABASE_'] as const
const RESERVED: ReadonlySet<string> = new Set(['_HANDLER', '_X_AMZN_TRACE_ID'])

/** All of a project. */
export const ALL_SECRETS = '*'

export const isSecretName = (name: string): boolean => NAME.test(name)
export const isReservedName = (name: string): boolean => RESERVED.has(name) || RESERVED_HEADS.some((head) => name.startsWith(head))

/** @throws MayflyError bad_request */
export function checkSecretName(name: string): void {
  if (!isSecretName(name)) throw new MayflyError('bad_request', `the name of a secret ${SECRET_NAME_RULE}`)
  if (isReservedName(name))
    throw new MayflyError('bad_request', `${name}: names that begin with ${RESERVED_HEADS.join(', ')} are the platform's own; choose another`)
}
