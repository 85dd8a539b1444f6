import { isDeepStrictEqual } from 'node:util'
import { definitionOfSpec, type FunctionSpec } from './definition.ts'
import type { FunctionRecord } from './builds.ts'

/** The fields of mayfly.json in which a function is not yet what is said; `code` for its artefact. Values stay untold: some are secrets. */
export function differencesOf(record: FunctionRecord, spec: FunctionSpec): string[] {
  const { name, definition, environment, artefact } = record
  const wanted = definitionOfSpec(name, spec, definition.tags)
  const differs: string[] = artefact === spec.artefact ? [] : ['code']
  const fields = {
    runtime: 'runtime',
    handler: 'handler',
    framework: 'framework',
    description: 'description',
    memoryMb: 'memory',
    timeoutSeconds: 'timeout',
    tmpMb: 'tmp',
    concurrency: 'concurrency',
    reuse: 'reuse',
    driver: 'sandbox',
    role: 'role',
    verifyJwt: 'verifyJwt',
    reservedConcurrency: 'reservedConcurrency',
    provisioned: 'provisioned',
  } as const
  for (const key of Object.keys(fields) as (keyof typeof fields)[]) if (definition[key] !== wanted[key]) differs.push(fields[key])
  if (!isDeepStrictEqual(definition.egress, wanted.egress)) differs.push('egress')
  if (!isDeepStrictEqual(definition.async, wanted.async)) differs.push('async')
  if (!isDeepStrictEqual(definition.secrets, wanted.secrets)) differs.push('secrets')
  if (!isDeepStrictEqual(definition.layers, wanted.layers)) differs.push('layers')
  if (!isDeepStrictEqual({ ...environment }, { ...spec.environment })) differs.push('environment')
  return differs
}
