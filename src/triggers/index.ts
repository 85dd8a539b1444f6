export { routes } from './http.ts'
export { eventSources } from './sources.ts'
export { Triggers } from './service.ts'
