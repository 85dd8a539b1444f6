import { LIMITS } from '../core/limits.ts'
import { type Infer, megabytes } from '../core/settings.ts'
import { MiB } from '../lib/bytes.ts'

export const storageSettings = {
  objectMb: megabytes({
    default: LIMITS.objectBytes.value / MiB,
    min: 1,
    max: 1_000_000,
    doc: 'How large one stored object may be; a bucket may ask for less.',
  }),
}
export type StorageConfig = Infer<typeof storageSettings>
