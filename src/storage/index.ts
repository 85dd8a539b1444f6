export type { Allow } from './buckets.ts'
export { type BucketWish, Storage } from './service.ts'
export type { BucketRow } from './store.ts'
