import type { FunctionRecord } from '../../service.ts'
import { invalidParameter, validation } from './errors.ts'
import { parseFunctionName } from './identifiers.ts'
import { type Call, type Operation, recordOf } from './operation.ts'
import { tagsOf } from './request.ts'

const AT = '/2017-03-31/tags/:resource'

export const tagOperations: readonly Operation[] = [
  { name: 'TagResource', method: 'POST', path: AT, status: 204, handle: tagResource },
  { name: 'UntagResource', method: 'DELETE', path: AT, status: 204, handle: untagResource },
  { name: 'ListTags', method: 'GET', path: AT, status: 200, handle: listTags },
]

/** Tags are named by the whole ARN of a function, without a qualifier. */
async function taggedFunction(call: Call): Promise<FunctionRecord> {
  const resource = call.context.params.resource ?? ''
  if (!resource.startsWith('arn:')) {
    throw validation([
      `Value '${resource.slice(0, 300)}' at 'resource' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*):lambda:[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:\\d{12}:function:[a-zA-Z0-9-_]+`,
    ])
  }
  const name = parseFunctionName(resource, {
    region: call.region,
    kind: 'control',
  })
  if (name.qualifier !== null) throw invalidParameter('Tags on function aliases and versions are not supported. Please specify a function ARN.')
  return await recordOf(call, name)
}

async function listTags(call: Call): Promise<unknown> {
  return { Tags: (await taggedFunction(call)).definition.tags }
}

async function tagResource(call: Call): Promise<unknown> {
  const tags = tagsOf(await call.body())
  if (tags === null) throw validation(["Value null at 'tags' failed to satisfy constraint: Member must not be null"])
  const { name } = await taggedFunction(call)
  await call.functions.changeTags(call.project, name, (before) => ({
    ...before,
    ...tags,
  }))
  return null
}

async function untagResource(call: Call): Promise<unknown> {
  const keys = new Set(call.query.getAll('tagKeys'))
  if (keys.size === 0) throw validation(["Value null at 'tagKeys' failed to satisfy constraint: Member must not be null"])
  const { name } = await taggedFunction(call)
  await call.functions.changeTags(call.project, name, (before) => Object.fromEntries(Object.entries(before).filter(([key]) => !keys.has(key))))
  return null
}
