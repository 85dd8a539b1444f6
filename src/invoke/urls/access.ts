import type { Principal } from '../../core/principal.ts'
import type { FunctionUrl, PolicyStatement } from '../../functions/index.ts'

/**
 * Do the statements of its function let anyone call an address? As on AWS it takes two: one for the address, with its
 * AuthType if it names one, and one for the function by way of it. One that denies counts for more than any that allow.
 */
export function letsAnyoneIn(url: FunctionUrl, statements: readonly PolicyStatement[]): boolean {
  return ['lambda:InvokeFunctionUrl', 'lambda:InvokeFunction'].every((action) => {
    const about = statements.filter((one) => isAnyone(one.Principal) && [one.Action].flat().some((name) => covers(name, action)) && holds(one, url))
    return about.some((one) => one.Effect === 'Allow') && !about.some((one) => one.Effect === 'Deny')
  })
}

const isAnyone = (principal: PolicyStatement['Principal']): boolean => principal === '*' || [principal.AWS ?? []].flat().includes('*')

const covers = (name: string, action: string): boolean => name === '*' || name === 'lambda:*' || name === action

/** What a call of an address says of itself; a condition on anything else is met by none. */
function holds({ Effect, Condition }: PolicyStatement, url: FunctionUrl): boolean {
  const said: Readonly<Record<string, string>> = { 'lambda:functionurlauthtype': url.authType, 'lambda:invokedviafunctionurl': 'true' }
  return Object.entries(Condition ?? {}).every(([operator, wanted]) => {
    if (operator !== 'StringEquals' && operator !== 'Bool') return Effect === 'Deny'
    return Object.entries(wanted).every(([key, values]) => [values].flat().some((value) => value === said[key.toLowerCase()]))
  })
}

/** How a principal that signed is named to the function. */
export function userArnOf(principal: Principal, accountId: string): string {
  return principal.kind === 'function' ? `arn:aws:sts::${accountId}:assumed-role/mayfly/${principal.functionName}` : `arn:aws:iam::${accountId}:root`
}
