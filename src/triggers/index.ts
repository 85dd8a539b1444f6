export { routes } from './http.ts'
export { Triggers } from './service.ts'
