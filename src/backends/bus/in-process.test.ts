import { busConformance } from './conformance.ts'
import { openInProcessBus } from './in-process.ts'

busConformance('in-process', async () => openInProcessBus())
