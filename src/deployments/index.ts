export type { DesiredBucket } from './document.ts'
export type { BucketsOfDeployment, TriggersOfDeployment, UrlsOfDeployment } from './plan.ts'
export { type DeploymentInfo, Deployments, type DeploymentsDeps } from './service.ts'
