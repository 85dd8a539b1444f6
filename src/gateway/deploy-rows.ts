import type { Route } from '../core/route.ts'

const OF_A_PROJECT = '/api/v1/projects/:ref'

/** All that a deploy token opens, each of its own project: what `mayfly deploy` asks for. */
export const DEPLOY_ROWS: ReadonlySet<string> = new Set([
  `GET ${OF_A_PROJECT}/functions/:name`,
  `PUT ${OF_A_PROJECT}/functions/:name`,
  `POST ${OF_A_PROJECT}/functions/:name/plan`,
  `PUT ${OF_A_PROJECT}/functions/:name/triggers`,
  `GET ${OF_A_PROJECT}/functions/:name/urls`,
  `PUT ${OF_A_PROJECT}/functions/:name/url`,
  `DELETE ${OF_A_PROJECT}/functions/:name/url`,
  `POST ${OF_A_PROJECT}/functions/:name/aliases/:alias/promote`,
  `HEAD ${OF_A_PROJECT}/artefacts/:sha256`,
  `PUT ${OF_A_PROJECT}/artefacts/:sha256`,
  `POST ${OF_A_PROJECT}/builds`,
  `GET ${OF_A_PROJECT}/sites`,
  `PUT ${OF_A_PROJECT}/site-files/:sha256`,
  `POST ${OF_A_PROJECT}/deployments/plan`,
  `GET ${OF_A_PROJECT}/deployments/:name`,
  `PUT ${OF_A_PROJECT}/deployments/:name`,
  `POST ${OF_A_PROJECT}/migrations`,
])

export const mayDeployBy = ({ method, path }: Pick<Route, 'method' | 'path'>): boolean => DEPLOY_ROWS.has(`${method} ${path}`)
