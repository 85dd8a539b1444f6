import { createHmac, timingSafeEqual } from 'node:crypto'
import type { ProjectRef } from '../core/project.ts'
import type { Clock } from '../lib/clock.ts'
import { type Random, systemRandom } from '../lib/ids.ts'

const VALID_MS = 600_000

/** Links to artefacts that anyone who has one may read for 10 minutes; they end with the process that made them. */
export class ArtefactLinks {
  readonly #key: Uint8Array
  readonly #clock: Clock

  constructor(clock: Clock, random: Random = systemRandom) {
    this.#clock = clock
    this.#key = random(new Uint8Array(32))
  }

  path(project: ProjectRef, sha256: string): string {
    const expiresAt = Math.floor(this.#clock.now() + VALID_MS)
    return `/api/v1/artefacts/${project}/${sha256}?token=${expiresAt}.${this.#mac(project, sha256, expiresAt).toString('base64url')}`
  }

  allows(project: string, sha256: string, token: string): boolean {
    const [, digits, mac] = /^(\d{1,15})\.([A-Za-z0-9_-]{43})$/.exec(token) ?? []
    if (digits === undefined || mac === undefined) return false
    const expiresAt = Number(digits)
    const given = Buffer.from(mac, 'base64url')
    const right = this.#mac(project, sha256, expiresAt)
    return given.length === right.length && timingSafeEqual(given, right) && this.#clock.now() < expiresAt
  }

  #mac(project: string, sha256: string, expiresAt: number): Buffer {
    return createHmac('sha256', this.#key)
      .update(JSON.stringify([project, sha256, expiresAt]))
      .digest()
  }
}
