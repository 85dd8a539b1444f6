/** A state by its name, with what it carries. */
export interface Named {
  readonly state: string
}
type Of<State extends Named, Name> = Extract<State, { readonly state: Name }>

/**
 * What an event makes of a state. Null: the news is late, and nothing changes. A text says why the two never meet: who
 * tells of such an event is at fault.
 */
export type Step<From, Told, State> = ((from: From, told: Told) => State) | null | string

/** Every state of a life with every event: what is not thought of does not compile. `Events` says what each event tells. */
export type Transitions<State extends Named, Events> = {
  readonly [Name in State['state']]: { readonly [Event in keyof Events]: Step<Of<State, Name>, Events[Event], State> }
}

/** @throws Error where the event cannot come in this state */
export function after<State extends Named, Events, Event extends keyof Events>(
  transitions: Transitions<State, Events>,
  from: State,
  event: Event,
  told: Events[Event],
): State {
  // The row is that of the very state; the language does not follow it there.
  const step = transitions[from.state as State['state']][event] as Step<State, Events[Event], State>
  if (step === null) return from
  if (typeof step === 'string') throw new Error(`${String(event)} in the state ${from.state}: ${step}`)
  return step(from, told)
}

/**
 * The rows of a table for people: for each state the names that each event leads to.
 * @param examples  for each state such as lead to all that can follow it
 */
export function transitionRows<State extends Named, Events>(
  transitions: Transitions<State, Events>,
  examples: readonly State[],
  told: { readonly [Event in keyof Events]: Events[Event] },
): { readonly events: readonly string[]; readonly rows: readonly { readonly state: string; readonly leadsTo: readonly string[] }[] } {
  const events = Object.keys(told) as (keyof Events & string)[]
  const rows = (Object.keys(transitions) as State['state'][]).map((state) => ({
    state,
    leadsTo: events.map((event) => {
      const step = transitions[state][event]
      if (step === null) return '='
      if (typeof step === 'string') return '–'
      const those = examples.filter((example) => example.state === state)
      return [...new Set(those.map((example) => after(transitions, example, event, told[event]).state))].join(' or ')
    }),
  }))
  return { events, rows }
}
