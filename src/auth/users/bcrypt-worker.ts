import { parentPort, workerData } from 'node:worker_threads'
import { compareSync } from 'bcryptjs'

// One comparison beside the thread that serves: in JavaScript it takes a processor for as long as it lasts.
const { password, hash } = workerData as { readonly password: string; readonly hash: string }
parentPort?.postMessage(compareSync(password, hash))
