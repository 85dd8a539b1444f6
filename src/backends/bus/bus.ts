/** What travels between the processes of a node, and later between nodes: names and small facts, never bodies. */
export type BusValue = string | number | boolean | null | readonly BusValue[] | { readonly [name: string]: BusValue }

/**
 * Small, lossy, at most once. A message is a hint: whoever depends on it must also find out by itself, later.
 */
export interface Bus extends AsyncDisposable {
  /** Tells every subscriber, of this process too. Never waits for them. */
  publish(subject: string, value: BusValue): void
  /** A subscriber that throws is no concern of the publisher. */
  subscribe(subject: string, hear: (value: BusValue) => void): Disposable
  /** Asks the one responder of a subject. @throws Error when nobody answers before the signal fires */
  request(subject: string, value: BusValue, signal: AbortSignal): Promise<BusValue>
  respond(subject: string, answer: (value: BusValue) => Promise<BusValue>): Disposable
}
