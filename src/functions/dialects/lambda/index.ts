export {
  ACCOUNT_ID,
  invalidParameter,
  LambdaError,
  lambdaFail,
  lambdaFailOf,
  notFound,
  validation,
} from './errors.ts'
export { lambdaRoutes } from './http.ts'
export type { LambdaRoutesDeps } from './operation.ts'
export {
  DEFAULT_REGION,
  type FunctionName,
  functionArn,
  type NameRules,
  parseFunctionName,
  regionOf,
} from './identifiers.ts'
