import { layerVersionArn, parseLayerVersionArn } from './layer-arn.ts'
import { ACCOUNT_ID, invalidParameter, LambdaError, notFound, validation } from './errors.ts'

const LAYER_NAME = /^(?:arn:[a-zA-Z0-9-]+:lambda:(?<region>[a-zA-Z0-9-]+):(?<account>\d{12}):layer:)?(?<name>[a-zA-Z0-9-_]+)$/
const NAME_PATTERN = String.raw`(arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+)|[a-zA-Z0-9-_]+`
const VERSION_PATTERN = String.raw`arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+`
/** Beyond what a version may have as its number: it is none of ours. */
const MAX_NUMBER = 2_147_483_647

const cut = (text: string) => text.slice(0, 300)

/**
 * The name of a layer, of which requests may give the ARN too.
 * @throws LambdaError ValidationException; ResourceNotFoundException for a layer of another account or region
 */
export function parseLayerName(text: string, region: string): string {
  const groups = LAYER_NAME.exec(text)?.groups
  const violations: string[] = []
  if (!groups)
    violations.push(`Value '${cut(text)}' at 'layerName' failed to satisfy constraint: Member must satisfy regular expression pattern: ${NAME_PATTERN}`)
  if (text.length > 140) violations.push(`Value '${cut(text)}' at 'layerName' failed to satisfy constraint: Member must have length less than or equal to 140`)
  if (!groups || violations.length > 0) throw validation(violations)
  if ((groups.region !== undefined && groups.region !== region) || (groups.account !== undefined && groups.account !== ACCOUNT_ID))
    throw notFound('The resource you requested does not exist.')
  return groups.name as string
}

/** @throws LambdaError */
export function parseLayerNumber(text: string): number {
  if (!/^-?\d{1,19}$/.test(text)) throw validation([`Value '${cut(text)}' at 'versionNumber' failed to satisfy constraint: Member must be a whole number`])
  const number = Number(text)
  if (number < 1) throw invalidParameter('Layer Version Cannot be less than 1')
  return Math.min(number, MAX_NUMBER)
}

/** @throws LambdaError ValidationException when it is no ARN of a version of a layer */
export function parseLayerVersion(arn: string): { region: string; account: string; name: string; number: number } {
  const parsed = parseLayerVersionArn(arn)
  if (!parsed)
    throw validation([`Value '${cut(arn)}' at 'arn' failed to satisfy constraint: Member must satisfy regular expression pattern: ${VERSION_PATTERN}`])
  return parsed
}

/**
 * The layers that a function is to have, by their ARNs as they are told back.
 * @throws LambdaError
 */
export function layersOf(named: readonly unknown[], region: string): string[] {
  return named.map((arn) => {
    const parsed = typeof arn === 'string' ? parseLayerVersionArn(arn) : null
    if (typeof arn !== 'string' || !parsed)
      throw validation([
        `Value '[${cut(String(arn))}]' at 'layers' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 2048, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: (${VERSION_PATTERN})|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+), Member must not be null]`,
      ])
    if (parsed.account !== ACCOUNT_ID)
      throw new LambdaError(
        'AccessDeniedException',
        403,
        `User: arn:aws:iam::${ACCOUNT_ID}:root is not authorized to perform: lambda:GetLayerVersion on resource: ${arn} because no resource-based policy allows the lambda:GetLayerVersion action`,
      )
    if (parsed.region !== region) throw invalidParameter(`Layers are not in the same region as the function. Layers are expected to be in region ${region}.`)
    return layerVersionArn(region, parsed.name, parsed.number)
  })
}
