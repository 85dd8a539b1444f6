export { type MeterEntry, Usage } from './service.ts'
