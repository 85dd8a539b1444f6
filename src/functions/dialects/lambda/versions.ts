import { MayflyError } from '../../../core/errors.ts'
import { isPlainLines } from '../../../core/plain-text.ts'
import { LATEST } from '../../builds.ts'
import { codeSha256 } from '../../service.ts'
import { invalidParameter, LambdaError, notFound } from './errors.ts'
import { functionArn } from './identifiers.ts'
import { afterMarker, type Call, markerOf, nameOf, type Operation, pageSize, recordOf, shown, unqualified } from './operation.ts'
import { textOf, Violations } from './request.ts'

const AT = '/2015-03-31/functions/:name/versions'

/** Published versions of functions. */
export const versionOperations: readonly Operation[] = [
  { name: 'PublishVersion', method: 'POST', path: AT, status: 201, handle: publishVersion },
  { name: 'ListVersionsByFunction', method: 'GET', path: AT, status: 200, handle: listVersions },
]

async function publishVersion(call: Call): Promise<unknown> {
  const name = unqualified(call)
  const body = await call.body()
  const violations = new Violations()
  const description = textOf(body, 'Description')
  if (description !== null && description.length > 256) violations.add('description', description, 'Member must have length less than or equal to 256')
  violations.check()
  if (description !== null && !isPlainLines(description)) throw invalidParameter('Description must not hold control characters.')
  const wantedSha = textOf(body, 'CodeSha256')
  const artefact = wantedSha === null || wantedSha === '' ? null : Buffer.from(wantedSha, 'base64').toString('hex')
  try {
    const { record } = await call.functions.versions.publish(call.project, name, { description, artefact, revisionId: textOf(body, 'RevisionId') })
    return shown(call, record, 'settled', record.version)
  } catch (error) {
    if (!(error instanceof MayflyError)) throw error
    const arn = functionArn(call.region, name)
    if (error.code === 'function_not_found') throw notFound(`Function not found: ${arn}`)
    if (error.code === 'function_changing')
      throw new LambdaError('ResourceConflictException', 409, `The operation cannot be performed at this time. An update is in progress for resource: ${arn}`)
    if (error.code !== 'code_mismatch') throw error
    const actual = codeSha256(await recordOf(call, { name, qualifier: null }))
    throw invalidParameter(
      `CodeSHA256 (${wantedSha?.slice(0, 100)}) is different from current CodeSHA256 in $LATEST (${actual}). Please try again with the CodeSHA256 in $LATEST.`,
    )
  }
}

/** $LATEST first, then what was published, ascending; a page that is the last is never empty. */
async function listVersions(call: Call): Promise<unknown> {
  const violations = new Violations()
  const size = pageSize(call.query, violations)
  violations.check()
  const { name } = nameOf(call, 'namespaced')
  await recordOf(call, { name, qualifier: null })
  const after = afterMarker(call.query.get('Marker'), /^\d{1,10}$/)
  const records = await call.functions.versions.list(call.project, name, after === '' ? { name: '', number: -1 } : { name, number: Number(after) }, size + 1)
  const page = records.slice(0, size)
  const last = page.at(-1)
  return {
    ...(records.length > size && last ? { NextMarker: markerOf(last.version === LATEST ? '0' : last.version) } : {}),
    Versions: page.map((record) => shown(call, record, 'listed', record.version)),
  }
}
