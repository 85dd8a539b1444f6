import { MayflyError } from '../../../core/errors.ts'
import { ACCOUNT_ID, invalidParameter, notFound, validation } from './errors.ts'
import { parseFunctionName } from './identifiers.ts'
import { type Call, type Operation, recordOf } from './operation.ts'
import { tagsOf } from './request.ts'
import { MAX_TAGS } from '../../definition.ts'
import type { EventSource } from '../../settings/types.ts'

const AT = '/2017-03-31/tags/:resource'

export const tagOperations: readonly Operation[] = [
  { name: 'TagResource', method: 'POST', path: AT, status: 204, handle: tagResource },
  { name: 'UntagResource', method: 'DELETE', path: AT, status: 204, handle: untagResource },
  { name: 'ListTags', method: 'GET', path: AT, status: 200, handle: listTags },
]

type Tags = Readonly<Record<string, string>>
/** What carries tags: they are read, and changed from what they were. */
interface Tagged {
  readonly tags: Tags
  readonly change: (make: (before: Tags) => Record<string, string>) => Promise<void>
}

const REGION = String.raw`(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}`
const UUID = '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}'
const RESOURCE = `arn:(aws[a-zA-Z-]*):lambda:${REGION}:\\d{12}:(function:[a-zA-Z0-9-_]+(:(\\$LATEST|[a-zA-Z0-9-_]+))?|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:${UUID}|capacity-provider:[a-zA-Z0-9-_]+)`

/** By the whole ARN of a function, without a qualifier, or of an event source mapping. */
async function tagged(call: Call): Promise<Tagged> {
  const resource = call.context.params.resource ?? ''
  if (!new RegExp(`^${RESOURCE}$`).test(resource)) {
    throw validation([
      `Value '${resource.slice(0, 300)}' at 'resource' failed to satisfy constraint: Member must satisfy regular expression pattern: ${RESOURCE}`,
    ])
  }
  const [, , , region, account, kind, id = ''] = resource.split(':')
  if (kind === 'event-source-mapping' && region === call.region && account === ACCOUNT_ID) return await taggedSource(call, id.toLowerCase())
  if (kind !== 'function') throw notFound('The resource you requested does not exist.')
  const name = parseFunctionName(resource, { region: call.region, kind: 'control' })
  if (name.qualifier !== null) throw invalidParameter('Tags on function aliases and versions are not supported. Please specify a function ARN.')
  const record = await recordOf(call, name)
  return { tags: record.definition.tags, change: (make) => call.functions.changeTags(call.project, name.name, make) }
}

async function taggedSource(call: Call, id: string): Promise<Tagged> {
  const absent = () => notFound('The resource you requested does not exist.')
  const found = await call.settings.eventSource(call.project, id)
  if (!found) throw absent()
  return {
    tags: found.tags,
    change: async (make) => {
      const change = (before: EventSource) => {
        const tags = make(before.tags)
        if (Object.keys(tags).length > MAX_TAGS) throw new MayflyError('bad_request', 'Number of tags exceeds resource tag limit.')
        return { ...before, tags }
      }
      const changed = await call.settings.changeEventSource(call.project, id, change, null)
      if (!changed) throw absent()
    },
  }
}

async function listTags(call: Call): Promise<unknown> {
  return { Tags: (await tagged(call)).tags }
}

async function tagResource(call: Call): Promise<unknown> {
  const tags = tagsOf(await call.body())
  if (tags === null) throw validation(["Value null at 'tags' failed to satisfy constraint: Member must not be null"])
  await (await tagged(call)).change((before) => ({ ...before, ...tags }))
  return null
}

async function untagResource(call: Call): Promise<unknown> {
  const keys = new Set(call.query.getAll('tagKeys'))
  if (keys.size === 0) throw validation(["Value null at 'tagKeys' failed to satisfy constraint: Member must not be null"])
  await (await tagged(call)).change((before) => Object.fromEntries(Object.entries(before).filter(([key]) => !keys.has(key))))
  return null
}
