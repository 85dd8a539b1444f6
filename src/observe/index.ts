export { Logs } from './service.ts'
