export { sqsRoutes } from './dialects/sqs/http.ts'
