import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { FunctionUrl, PolicyStatement } from '../../functions/index.ts'
import { letsAnyoneIn } from './access.ts'

const url = { authType: 'NONE' } as FunctionUrl
const allow = (Action: string, Condition?: PolicyStatement['Condition'], more: Partial<PolicyStatement> = {}): PolicyStatement => ({
  Effect: 'Allow',
  Principal: '*',
  Action,
  ...(Condition ? { Condition } : {}),
  ...more,
})
const atUrl = allow('lambda:InvokeFunctionUrl', { StringEquals: { 'lambda:FunctionUrlAuthType': 'NONE' } })
const byUrl = allow('lambda:InvokeFunction', { Bool: { 'lambda:InvokedViaFunctionUrl': 'true' } })

describe('a policy lets anyone in', () => {
  const rows: [what: string, statements: PolicyStatement[], open: boolean][] = [
    ['by both statements', [atUrl, byUrl], true],
    ['without conditions', [allow('lambda:InvokeFunctionUrl'), allow('lambda:InvokeFunction')], true],
    ['by one for all', [allow('lambda:*')], true],
    ['by none', [], false],
    ['by one of the two', [atUrl], false],
    ['by the other', [byUrl], false],
    ['for another AuthType', [allow('lambda:InvokeFunctionUrl', { StringEquals: { 'lambda:FunctionUrlAuthType': 'AWS_IAM' } }), byUrl], false],
    ['for one account', [{ ...atUrl, Principal: { AWS: 'arn:aws:iam::123456789012:root' } }, byUrl], false],
    ['for a service', [{ ...atUrl, Principal: { Service: '*' } }, byUrl], false],
    ['for a source', [allow('lambda:InvokeFunctionUrl', { ArnLike: { 'AWS:SourceArn': '*' } }), byUrl], false],
    ['for an organisation', [allow('lambda:InvokeFunctionUrl', { StringEquals: { 'aws:PrincipalOrgID': 'o-1' } }), byUrl], false],
    ['but one denies it', [atUrl, byUrl, { ...byUrl, Effect: 'Deny' }], false],
    [
      'but one denies it in words that are not understood',
      [atUrl, byUrl, { ...atUrl, Effect: 'Deny', Condition: { NotIpAddress: { 'aws:SourceIp': '10.0.0.0/8' } } }],
      false,
    ],
    ['and what is denied is something else', [atUrl, byUrl, allow('lambda:GetFunction', undefined, { Effect: 'Deny' })], true],
  ]
  for (const [what, statements, open] of rows) it(what, () => assert.equal(letsAnyoneIn(url, statements), open))
})
