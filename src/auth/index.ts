export { type ConsoleSession, ConsoleSessions } from './console-sessions.ts'
export { DeployTokens } from './deploy-tokens.ts'
export { type AccessKey, Auth, type HandleOwner, type ProjectKeys } from './service.ts'
export { SignatureError, type SignedRequest, verifySigV4 } from './sigv4.ts'
