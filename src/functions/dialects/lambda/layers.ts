import { MayflyError } from '../../../core/errors.ts'
import { isPlainLines } from '../../../core/plain-text.ts'
import type { LayerPolicy, LayerVersion } from '../../layers/service.ts'
import { layerArn, layerVersionArn } from './layer-arn.ts'
import { CODE_BODY_BYTES, codeSource, withArchive } from './code.ts'
import { timestamp } from './configuration.ts'
import { ACCOUNT_ID, invalidParameter, LambdaError, notFound, validation } from './errors.ts'
import { parseLayerName, parseLayerNumber, parseLayerVersion } from './layer-names.ts'
import { afterMarker, type Call, markerOf, type Operation, pageSize } from './operation.ts'
import { listOf, objectOf, textOf, Violations } from './request.ts'

const AT = '/2018-10-31/layers'
const VERSION = `${AT}/:name/versions/:number`

/** Layers: versions of archives, and who may read them. */
export const layerOperations: readonly Operation[] = [
  { name: 'ListLayers and GetLayerVersionByArn', method: 'GET', path: AT, status: 200, handle: listLayers },
  { name: 'PublishLayerVersion', method: 'POST', path: `${AT}/:name/versions`, status: 201, handle: publishLayerVersion, bodyBytes: CODE_BODY_BYTES },
  { name: 'ListLayerVersions', method: 'GET', path: `${AT}/:name/versions`, status: 200, handle: listLayerVersions },
  { name: 'GetLayerVersion', method: 'GET', path: VERSION, status: 200, handle: getLayerVersion },
  { name: 'DeleteLayerVersion', method: 'DELETE', path: VERSION, status: 204, handle: deleteLayerVersion },
  { name: 'AddLayerVersionPermission', method: 'POST', path: `${VERSION}/policy`, status: 201, handle: addLayerVersionPermission },
  { name: 'GetLayerVersionPolicy', method: 'GET', path: `${VERSION}/policy`, status: 200, handle: getLayerVersionPolicy },
  { name: 'RemoveLayerVersionPermission', method: 'DELETE', path: `${VERSION}/policy/:statement`, status: 204, handle: removeLayerVersionPermission },
]

const PAGE = 50
/** Families, not a list: a layer may say that it fits what is newer than this. */
const RUNTIME =
  /^(nodejs(\d+\.x|4\.3(-edge)?|6\.10|8\.10)?|python\d\.\d{1,2}|java\d{1,2}(\.al2(023)?)?|dotnet(core)?\d{1,2}(\.\d)?|ruby\d\.\d|go1\.x|provided(\.al2(023)?)?)$/
const ARCHITECTURES = ['x86_64', 'arm64']
const MAX_POLICY_BYTES = 20_480
const SHOWN_RUNTIMES = 'nodejs24.x, nodejs22.x, python3.14, python3.13, java25, dotnet10, ruby3.4, go1.x, provided, provided.al2, provided.al2023'

const gone = () => notFound('The resource you requested does not exist.')

const shown = (call: Call, version: LayerVersion) => ({
  LayerVersionArn: layerVersionArn(call.region, version.name, version.number),
  Version: version.number,
  Description: version.description,
  CreatedDate: timestamp(version.publishedAt),
  ...(version.runtimes === null ? {} : { CompatibleRuntimes: version.runtimes }),
  ...(version.architectures === null ? {} : { CompatibleArchitectures: version.architectures }),
  ...(version.license === null ? {} : { LicenseInfo: version.license }),
})

const shownWhole = (call: Call, version: LayerVersion) => ({
  Content: {
    Location: `${call.context.origin}${call.links.path(call.project, version.artefact)}`,
    CodeSha256: Buffer.from(version.artefact, 'hex').toString('base64'),
    CodeSize: version.codeBytes,
  },
  LayerArn: layerArn(call.region, version.name),
  ...shown(call, version),
})

async function publishLayerVersion(call: Call): Promise<unknown> {
  const body = await call.body()
  const violations = new Violations()
  const content = objectOf(body, 'Content')
  if (content === null) violations.missing('content')
  const description = textOf(body, 'Description') ?? ''
  if (description.length > 256) violations.add('description', description, 'Member must have length less than or equal to 256')
  const license = textOf(body, 'LicenseInfo')
  if (license !== null && license.length > 512) violations.add('licenseInfo', license, 'Member must have length less than or equal to 512')
  const runtimes = textsOf(listOf(body, 'CompatibleRuntimes'), 'compatibleRuntimes', 15, (text) => RUNTIME.test(text), SHOWN_RUNTIMES, violations)
  const architectures = textsOf(
    listOf(body, 'CompatibleArchitectures'),
    'compatibleArchitectures',
    2,
    (text) => ARCHITECTURES.includes(text),
    ARCHITECTURES.join(', '),
    violations,
  )
  violations.check()
  if (![description, license ?? ''].every(isPlainLines)) throw invalidParameter('Description and LicenseInfo must not hold control characters.')
  const name = parseLayerName(call.context.params.name ?? '', call.region)
  const source = codeSource(content ?? {})
  const artefact = await withArchive(call, source, async (zip, limitBytes) => await call.functions.storeArtefact(call.project, zip, limitBytes))
  return shownWhole(call, await call.functions.layers.publish(call.project, name, { description, license, runtimes, architectures, artefact }))
}

function textsOf(
  values: readonly unknown[] | null,
  path: string,
  most: number,
  fits: (text: string) => boolean,
  allowed: string,
  violations: Violations,
): string[] | null {
  if (values === null || values.length === 0) return null
  const shownValues = `[${values.map(String).join(', ')}]`
  if (values.length > most) violations.add(path, shownValues, `Member must have length less than or equal to ${most}`)
  const texts = values.filter((value) => typeof value === 'string')
  if (texts.length < values.length || !texts.every(fits))
    violations.add(path, shownValues, `Member must satisfy constraint: [Member must satisfy enum value set: [${allowed}], Member must not be null]`)
  return texts
}

function fittingOf({ query }: Call, violations: Violations) {
  const runtime = query.get('CompatibleRuntime')
  const architecture = query.get('CompatibleArchitecture')
  if (architecture !== null && !ARCHITECTURES.includes(architecture))
    violations.add('compatibleArchitecture', architecture, `Member must satisfy enum value set: [${ARCHITECTURES.join(', ')}]`)
  if (runtime !== null && !RUNTIME.test(runtime)) violations.add('compatibleRuntime', runtime, `Member must satisfy enum value set: [${SHOWN_RUNTIMES}]`)
  return { runtime, architecture }
}

/** One path for two operations; the query tells them apart. */
async function listLayers(call: Call): Promise<unknown> {
  if (call.query.get('find') === 'LayerVersion') return await getLayerVersionByArn(call)
  const violations = new Violations()
  const size = pageSize(call.query, violations, PAGE, PAGE)
  const fitting = fittingOf(call, violations)
  violations.check()
  const after = afterMarker(call.query.get('Marker'), /^[a-zA-Z0-9_-]{1,140}$/)
  const found = await call.functions.layers.list(call.project, fitting, after, size + 1)
  const page = found.slice(0, size)
  const last = page.at(-1)
  return {
    ...(found.length > size && last ? { NextMarker: markerOf(last.name) } : {}),
    Layers: page.map((version) => ({
      LayerName: version.name,
      LayerArn: layerArn(call.region, version.name),
      LatestMatchingVersion: shown(call, version),
    })),
  }
}

async function listLayerVersions(call: Call): Promise<unknown> {
  const violations = new Violations()
  const size = pageSize(call.query, violations, PAGE, PAGE)
  const fitting = fittingOf(call, violations)
  violations.check()
  const name = parseLayerName(call.context.params.name ?? '', call.region)
  const marker = afterMarker(call.query.get('Marker'), /^\d{1,9}$/)
  const found = await call.functions.layers.listVersions(call.project, name, fitting, marker === '' ? 2_147_483_647 : Number(marker), size + 1)
  const page = found.slice(0, size)
  const last = page.at(-1)
  return {
    ...(found.length > size && last ? { NextMarker: markerOf(String(last.number)) } : {}),
    LayerVersions: page.map((version) => shown(call, version)),
  }
}

async function getLayerVersion(call: Call): Promise<unknown> {
  const number = parseLayerNumber(call.context.params.number ?? '')
  const name = parseLayerName(call.context.params.name ?? '', call.region)
  const version = await call.functions.layers.find(call.project, name, number)
  if (!version) throw gone()
  return shownWhole(call, version)
}

async function getLayerVersionByArn(call: Call): Promise<unknown> {
  const arn = call.query.get('Arn')
  if (arn === null) throw validation(["Value null at 'arn' failed to satisfy constraint: Member must not be null"])
  const { region, account, name, number } = parseLayerVersion(arn)
  const version = region === call.region && account === ACCOUNT_ID ? await call.functions.layers.find(call.project, name, number) : null
  if (!version) throw gone()
  return shownWhole(call, version)
}

async function deleteLayerVersion(call: Call): Promise<unknown> {
  const number = parseLayerNumber(call.context.params.number ?? '')
  await call.functions.layers.delete(call.project, parseLayerName(call.context.params.name ?? '', call.region), number)
  return null
}

/** The version whose policy is meant; `missing` says that it is not there. */
function policyPlace(call: Call) {
  const number = parseLayerNumber(call.context.params.number ?? '')
  const name = parseLayerName(call.context.params.name ?? '', call.region)
  const arn = layerVersionArn(call.region, name, number)
  const told = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work
    } catch (error) {
      if (error instanceof MayflyError && error.code === 'layer_not_found') throw notFound(`Layer version ${arn} does not exist.`)
      if (error instanceof MayflyError && error.code === 'revision_mismatch')
        throw new LambdaError(
          'PreconditionFailedException',
          412,
          'The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest Revision Id',
        )
      throw error
    }
  }
  return { name, number, arn, told }
}

/** The members of a statement in the order of AWS's, whatever order they were kept in: tools compare texts. */
const MEMBERS = ['Sid', 'Effect', 'Principal', 'Action', 'Resource', 'Condition']
const policyText = (statements: LayerPolicy['statements']) =>
  JSON.stringify({
    Version: '2012-10-17',
    Id: 'default',
    Statement: statements.map((one) => Object.fromEntries(MEMBERS.flatMap((name) => (Object.hasOwn(one, name) ? [[name, one[name]]] : [])))),
  })

async function addLayerVersionPermission(call: Call): Promise<unknown> {
  const body = await call.body()
  const violations = new Violations()
  const member = (field: string, path: string, pattern: RegExp, constraint: string): string | null => {
    const text = textOf(body, field)
    if (text === null) violations.missing(path)
    else if (!pattern.test(text)) violations.add(path, text, `Member must satisfy regular expression pattern: ${constraint}`)
    return text
  }
  const sid = member('StatementId', 'statementId', /^[a-zA-Z0-9-_]{1,100}$/, '([a-zA-Z0-9-_]+)')
  member('Action', 'action', /^lambda:GetLayerVersion$/, 'lambda:GetLayerVersion')
  const principal = member(
    'Principal',
    'principal',
    /^(\d{12}|\*|arn:aws[a-zA-Z-]*:iam::\d{12}:root)$/,
    String.raw`\d{12}|\*|arn:(aws[a-zA-Z-]*):iam::\d{12}:root`,
  )
  const organization = textOf(body, 'OrganizationId')
  if (organization !== null && !/^o-[a-z0-9]{10,32}$/.test(organization))
    violations.add('organizationId', organization, 'Member must satisfy regular expression pattern: o-[a-z0-9]{10,32}')
  violations.check()
  if (organization !== null && principal !== '*') throw invalidParameter('OrganizationId can only be given with the principal *.')
  const { name, number, arn, told } = policyPlace(call)
  const statement = {
    Sid: sid as string,
    Effect: 'Allow',
    Principal: principal === '*' ? '*' : { AWS: /^\d/.test(principal as string) ? `arn:aws:iam::${principal}:root` : principal },
    Action: 'lambda:GetLayerVersion',
    Resource: arn,
    ...(organization === null ? {} : { Condition: { StringEquals: { 'aws:PrincipalOrgID': organization } } }),
  }
  const { revisionId } = await told(
    call.functions.layers.changePolicy(call.project, name, number, call.query.get('RevisionId'), (statements) => {
      if (statements.some((one) => one.Sid === sid))
        throw new LambdaError(
          'ResourceConflictException',
          409,
          `The statement id (${sid}) provided already exists. Please provide a new statement id, or remove the existing statement.`,
        )
      const next = [...statements, statement]
      const bytes = Buffer.byteLength(policyText(next))
      if (bytes > MAX_POLICY_BYTES)
        throw new LambdaError('PolicyLengthExceededException', 400, `The final policy size (${bytes}) is bigger than the limit (${MAX_POLICY_BYTES}).`)
      return next
    }),
  )
  return { Statement: JSON.stringify(statement), RevisionId: revisionId }
}

const noPolicy = () => notFound('No policy is associated with the given resource.')

async function getLayerVersionPolicy(call: Call): Promise<unknown> {
  const { name, number, told } = policyPlace(call)
  const { statements, revisionId } = await told(call.functions.layers.policy(call.project, name, number))
  if (statements.length === 0) throw noPolicy()
  return { Policy: policyText(statements), RevisionId: revisionId }
}

async function removeLayerVersionPermission(call: Call): Promise<unknown> {
  const { name, number, told } = policyPlace(call)
  const sid = call.context.params.statement ?? ''
  await told(
    call.functions.layers.changePolicy(call.project, name, number, call.query.get('RevisionId'), (statements) => {
      if (statements.length === 0) throw noPolicy()
      const next = statements.filter((one) => one.Sid !== sid)
      if (next.length === statements.length) throw notFound(`Statement ${sid.slice(0, 100)} is not found in resource policy.`)
      return next
    }),
  )
  return null
}
