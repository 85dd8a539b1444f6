export { Logs } from './service.ts'
export { linesOfChunk, type StoredChunk, type StoredLine } from './store.ts'
