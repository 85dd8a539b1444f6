export { Heard } from './heard.ts'
export { Realtime, type RealtimeNumbers } from './service.ts'
