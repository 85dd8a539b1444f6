export { Realtime, type RealtimeNumbers } from './service.ts'
