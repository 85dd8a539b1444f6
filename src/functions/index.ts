export { isAliasName } from './aliases.ts'
export { type Archive, readArchive, unpackArchive } from './archive.ts'
export { joinArchives } from './archive-join.ts'
export { Concurrency } from './concurrency/concurrency.ts'
export { projectConcurrencyRoutes } from './concurrency/http.ts'
export { targetsOf } from './concurrency/targets.ts'
export { Artefacts, type ArtefactsOptions } from './artefacts.ts'
export type { FunctionRecord } from './builds.ts'
export {
  definitionOfSpec,
  type FunctionSpec,
  functionSpecSchema,
  isFunctionName,
  MAX_ENVIRONMENT_BYTES,
  mayflyJsonSchema,
  type UrlSpec,
  urlSpecSchema,
} from './definition.ts'
export { differencesOf } from './difference.ts'
export { LateBuilds } from './late-builds.ts'
export {
  ACCOUNT_ID,
  DEFAULT_REGION,
  type FunctionName,
  functionArn,
  invalidParameter,
  LambdaError,
  lambdaFail,
  lambdaFailOf,
  lambdaRoutes,
  notFound,
  parseFunctionName,
  regionOf,
} from './dialects/lambda/index.ts'
export { type FunctionsHttpDeps, routes } from './http.ts'
export { type ObjectFault, type ReadObject, StoredArchives } from './stored-archives.ts'
export { ArtefactLinks } from './links.ts'
export { Remembered } from './remembered.ts'
export { secretRoutes } from './secrets/http.ts'
export { urlRoutes } from './urls/http.ts'
export { type Cors, type FunctionUrl, FunctionUrls } from './urls/service.ts'
export { pickSecrets, type SecretInfo, Secrets } from './secrets/service.ts'
export {
  type Change,
  type FunctionsDeps,
  FunctionsService,
} from './service.ts'
export type { DestinationSpec, FunctionDefinition, Functions, KeptSettings, Logging, Version } from './types.ts'
export { FunctionSettings } from './settings/service.ts'
export type { EventInvoke, PolicyDocument, PolicyStatement } from './settings/types.ts'
