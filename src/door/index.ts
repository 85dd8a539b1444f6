export type { DoorPlace } from './http.ts'
export { DoorListener } from './listener.ts'
export { Door } from './service.ts'
