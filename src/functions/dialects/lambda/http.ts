import { LIMITS } from '../../../core/limits.ts'
import type { Route } from '../../../core/route.ts'
import { absentOperations } from './absent.ts'
import { aliasOperations } from './aliases.ts'
import { codeSigningOperations } from './code-signing.ts'
import { concurrencyOperations } from './concurrency.ts'
import { LambdaError, lambdaFail } from './errors.ts'
import { eventInvokeOperations } from './event-invoke.ts'
import { eventSourceOperations } from './event-sources.ts'
import { settingOperations } from './function-settings.ts'
import { functionOperations } from './functions.ts'
import { layerOperations } from './layers.ts'
import { type LambdaRoutesDeps, type Operation, routeOf } from './operation.ts'
import { policyOperations } from './policies.ts'
import { provisionedOperations } from './provisioned.ts'
import { tagOperations } from './tags.ts'
import { urlOperations } from './urls.ts'
import { versionOperations } from './versions.ts'

/** The control plane of the Lambda API. Invoke belongs to the room that runs functions. */
export const OPERATIONS: readonly Operation[] = [
  ...functionOperations,
  ...versionOperations,
  ...aliasOperations,
  ...policyOperations,
  ...tagOperations,
  ...codeSigningOperations,
  ...eventSourceOperations,
  ...concurrencyOperations,
  ...provisionedOperations,
  ...eventInvokeOperations,
  ...settingOperations,
  ...absentOperations,
  ...layerOperations,
  ...urlOperations,
]

const DATED = [
  '2014-11-13',
  '2015-03-31',
  '2016-08-19',
  '2017-03-31',
  '2017-10-31',
  '2018-10-31',
  '2019-09-25',
  '2019-09-30',
  '2020-04-22',
  '2020-06-30',
  '2021-07-20',
  '2021-10-31',
  '2021-11-15',
  '2024-08-31',
  '2025-11-30',
  '2025-12-01',
  '2026-07-09',
]

export const lambdaRoutes = (deps: LambdaRoutesDeps): Route[] => [
  ...OPERATIONS.map((operation) => routeOf(deps, operation)),
  // What the API has not, or has by another method, is told in its own form.
  ...DATED.map(
    (date): Route => ({
      method: '*',
      path: `/${date}/*`,
      access: 'aws',
      plane: 'management',
      doc: 'Lambda: operations that this version does not have.',
      bodyBytes: LIMITS.managementBody.value,
      fail: lambdaFail,
      handle: async (context) => {
        throw new LambdaError('UnknownOperationException', 404, `This version of Mayfly has no operation ${context.method} ${context.rawPath.slice(0, 200)}`)
      },
    }),
  ),
]
