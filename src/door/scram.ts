import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

/** SCRAM-SHA-256 as PostgreSQL speaks it (RFC 5802, RFC 7677), without channel binding, from both ends. */
export const MECHANISM = 'SCRAM-SHA-256'
const ITERATIONS = 4096
/** Of a server that we ask ourselves; more would be a way to keep us busy. */
const MOST_ITERATIONS = 1_000_000
const NONCE_BYTES = 18
const KEY_BYTES = 32

const hash = (data: Uint8Array) => createHash('sha256').update(data).digest()
const hmac = (key: Uint8Array, data: string) => createHmac('sha256', key).update(data).digest()
const xor = (a: Uint8Array, b: Uint8Array) => Buffer.from(a.map((byte, at) => byte ^ (b[at] as number)))
const salted = (password: string, salt: Uint8Array, iterations: number) => promisify(pbkdf2)(password, salt, iterations, KEY_BYTES, 'sha256')

/** The exchange does not follow its rules, or what came is not proven. */
export class ScramError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ScramError'
  }
}

/** What a server keeps of a password. */
export interface Verifier {
  readonly iterations: number
  readonly salt: Buffer
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

/** In the form in which PostgreSQL itself keeps it. */
export async function verifierOf(password: string): Promise<string> {
  const salt = randomBytes(16)
  const key = await salted(password, salt, ITERATIONS)
  const parts = [hash(hmac(key, 'Client Key')), hmac(key, 'Server Key')].map((part) => part.toString('base64'))
  return `${MECHANISM}$${ITERATIONS}:${salt.toString('base64')}$${parts.join(':')}`
}

/** @throws ScramError */
export function readVerifier(text: string): Verifier {
  const [, iterations, salt, storedKey, serverKey] = /^SCRAM-SHA-256\$(\d{1,7}):([\w+/=]+)\$([\w+/=]+):([\w+/=]+)$/.exec(text) ?? []
  if (!iterations || !salt || !storedKey || !serverKey) throw new ScramError('the kept verifier cannot be read')
  const bytes = (part: string) => Buffer.from(part, 'base64')
  return { iterations: Number(iterations), salt: bytes(salt), storedKey: bytes(storedKey), serverKey: bytes(serverKey) }
}

/** For a name that nobody has: it looks like any other, the same each time, and no password fits. */
export function noVerifier(secret: Uint8Array, name: string): Verifier {
  return { iterations: ITERATIONS, salt: hmac(secret, `salt/${name}`).subarray(0, 16), storedKey: randomBytes(KEY_BYTES), serverKey: randomBytes(KEY_BYTES) }
}

/** The server's end of one exchange. */
export class ScramServer {
  readonly #verifier: Verifier
  #binding = ''
  #clientFirst = ''
  #serverFirst = ''
  #nonce = ''

  constructor(verifier: Verifier) {
    this.#verifier = verifier
  }

  /** @throws ScramError */
  first(text: string): string {
    // Who asks for channel binding was not offered it; who says that we do not offer it (`y`) is right.
    const [, header, bare, nonce] = /^((?:n|y),,)((?:n=[^,]*),r=([\x21-\x2b\x2d-\x7e]{8,256}))$/.exec(text) ?? []
    if (header === undefined || bare === undefined || nonce === undefined) throw new ScramError('the first message of the client is not understood')
    this.#binding = Buffer.from(header).toString('base64')
    this.#clientFirst = bare
    this.#nonce = nonce + randomBytes(NONCE_BYTES).toString('base64')
    this.#serverFirst = `r=${this.#nonce},s=${this.#verifier.salt.toString('base64')},i=${this.#verifier.iterations}`
    return this.#serverFirst
  }

  /** @returns the server's proof; null where the password is another. @throws ScramError */
  final(text: string): string | null {
    const [, withoutProof, binding, nonce, proofText] = /^(c=([\w+/=]*),r=([\x21-\x2b\x2d-\x7e]*)),p=([\w+/=]*)$/.exec(text) ?? []
    if (withoutProof === undefined || proofText === undefined) throw new ScramError('the last message of the client is not understood')
    // Somebody between the two would change what the client said of binding.
    if (binding !== this.#binding || nonce !== this.#nonce) throw new ScramError('the messages of the client do not belong together')
    const proof = Buffer.from(proofText, 'base64')
    const message = `${this.#clientFirst},${this.#serverFirst},${withoutProof}`
    if (proof.length !== KEY_BYTES) return null
    const clientKey = xor(proof, hmac(this.#verifier.storedKey, message))
    if (!timingSafeEqual(hash(clientKey), this.#verifier.storedKey)) return null
    return `v=${hmac(this.#verifier.serverKey, message).toString('base64')}`
  }
}

/** The client's end: for the server of a project, where the password is ours. */
export class ScramClient {
  readonly #password: string
  readonly #nonce = randomBytes(NONCE_BYTES).toString('base64')
  #proofOfServer = Buffer.alloc(0)

  constructor(password: string) {
    this.#password = password
  }

  get first(): string {
    return `n,,n=,r=${this.#nonce}`
  }

  /** @throws ScramError */
  async final(serverFirst: string): Promise<string> {
    const [, nonce = '', salt = '', iterations = '0'] = /^r=([\x21-\x2b\x2d-\x7e]+),s=([\w+/=]+),i=(\d{1,7})$/.exec(serverFirst) ?? []
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length || Number(iterations) < 1 || Number(iterations) > MOST_ITERATIONS)
      throw new ScramError('the first message of the server is not understood')
    const key = await salted(this.#password, Buffer.from(salt, 'base64'), Number(iterations))
    const clientKey = hmac(key, 'Client Key')
    const withoutProof = `c=biws,r=${nonce}`
    const message = `n=,r=${this.#nonce},${serverFirst},${withoutProof}`
    this.#proofOfServer = hmac(hmac(key, 'Server Key'), message)
    return `${withoutProof},p=${xor(clientKey, hmac(hash(clientKey), message)).toString('base64')}`
  }

  /** @throws ScramError when the server does not know the password itself */
  check(serverFinal: string): void {
    const proof = Buffer.from(/^v=([\w+/=]+)$/.exec(serverFinal)?.[1] ?? '', 'base64')
    if (proof.length !== KEY_BYTES || !timingSafeEqual(proof, this.#proofOfServer)) throw new ScramError('the server does not know the password')
  }
}
