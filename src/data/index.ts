export { Data } from './service.ts'
