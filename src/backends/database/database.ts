import type { ConnectionOptions } from 'node:tls'

/** A row as PostgreSQL gave it: int8 and numeric as text, timestamptz as Date, json parsed. */
export type Row = Record<string, unknown>

/**
 * Runs one statement; every `${value}` becomes a parameter (`$1`, `$2`…), never text of the statement.
 * Statements are prepared once per connection, named by the hash of their text.
 * @throws DatabaseError with the SQLSTATE
 */
export type Sql = <R extends object = Row>(strings: TemplateStringsArray, ...values: readonly unknown[]) => Promise<R[]>

/** `Sql` inside a transaction. All statements of one transaction are sent on one connection, in order. */
export interface Tx {
  <R extends object = Row>(strings: TemplateStringsArray, ...values: readonly unknown[]): Promise<R[]>
  readonly inTransaction: true
}

export interface Database extends AsyncDisposable {
  /** One statement on its own, committed when it resolves. */
  readonly sql: Sql
  /**
   * Begins, runs `work`, commits; rolls back when `work` throws.
   * Resolves only when PostgreSQL answered COMMIT with the tag COMMIT.
   */
  transaction<T>(work: (tx: Tx) => Promise<T>, signal?: AbortSignal): Promise<T>
  /**
   * A transaction whose statements need no answer of one another: what `work` asks before it waits for anything leaves in
   * one write, is answered in one and is committed by then. Values are texts, numbers, bytes, lists of texts or null.
   * What `work` makes of the answers comes too late to undo anything.
   */
  flight<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /** Several statements without parameters in one go: migrations. */
  script(text: string): Promise<void>
}

/** How a role reaches a database. */
export interface Connection {
  /** A host name, or the folder of a unix socket. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
  readonly ssl?: boolean | ConnectionOptions
}

/** So begin names of places that are made for a comparison, as no project's can: none of them outlasts the node. */
export const SHADOW = 'shadow_'

/** What falls away here, why, and what to do: sentences for the operator. */
export interface Gap {
  readonly what: string
  readonly why: string
  readonly todo: string
}

/** Where databases live (DESIGN, section 2): the control database and one place per project. */
export interface Databases extends AsyncDisposable {
  /** What it is, for doctor and `/health`: `embedded 18` or `external 16.2`. */
  readonly kind: string
  /** MB that the kernel lets one server have; null where it holds none to a bound. */
  readonly memoryMb: number | null
  /** As doctor says it of this host or server. */
  readonly missing: readonly Gap[]
  readonly control: Database
  /** How another process of this node reaches the control database. */
  controlConnection(): Connection
  /** Makes the project's place equal to "exists, migrated". Idempotent: the reconciler calls it again after a crash. */
  ensureProject(ref: string): Promise<void>
  /**
   * Makes a place that holds what `from` holds at a moment of the call, while that is in use; it is not open yet. A place
   * that is there is left as it is: the reconciler calls it again after a crash.
   * @throws CloneUnavailable where the server cannot do that
   */
  cloneProject(from: string, to: string): Promise<void>
  /** Ends the project's connections and, where its server is ours, its server. What opens it next starts that again. Idempotent. */
  pauseProject(ref: string): Promise<void>
  /** Removes the project's place with all its data. Idempotent. */
  dropProject(ref: string): Promise<void>
  /** The project's database as our own role, its server started on first use. */
  openProject(ref: string): Promise<Database>
  /**
   * The project's database as `authenticator`: it has no rights but to take the roles anon, authenticated and
   * service_role for a transaction. What users wrote (policies, triggers) runs only in sessions of this one.
   */
  openRoles(ref: string): Promise<Database>
  /**
   * The project's database as the login role that reads and writes its users: it may take the role `supabase_auth_admin`,
   * in which triggers on the users' tables run, and none of the data API's.
   */
  openLogin(ref: string): Promise<Database>
  /** How `authenticator` reaches it, its server started: for a pool of one's own. */
  rolesConnection(ref: string): Promise<Connection>
  /**
   * The project's database as its owner: who makes the project's own tables, and is bound to them by no row-level security.
   * What people write runs here, migrations and what they type. Each transaction and script has a session of its own,
   * which ends with it. It is the caller's, who disposes of it.
   */
  openOwner(ref: string): Promise<Database>
  /**
   * How the owner reaches it, its server started: for sessions of one's own. The owner may change its own password, as
   * any role may: who is refused by it (28P01) has it set again by `renewOwner`.
   */
  ownerConnection(ref: string): Promise<Connection>
  renewOwner(ref: string): Promise<void>
  /** How our own role reaches a project's database, its server started: for what no pool does, such as replication. */
  projectConnection(ref: string): Promise<Connection>
  /** The projects whose server did not come to its end, by what its own files say: they may hold what nobody has looked at since. */
  brokenOff(): Promise<readonly string[]>
  /** Processes of ours that hold memory, for the console and doctor. */
  status(): Promise<{ place: string; running: boolean; pid: number | null }[]>
}

export class DatabaseError extends Error {
  /** The SQLSTATE, five characters; `08006` when the connection was lost. */
  readonly sqlState: string
  readonly constraint: string | null
  /** What PostgreSQL, or whoever raised it, says more of it. */
  readonly detail: string | null
  readonly hint: string | null
  /** The character of the statement that it is about, from 1; null where that was not asked for, or nobody knows. */
  position: number | null = null
  constructor(
    sqlState: string,
    message: string,
    constraint: string | null = null,
    options?: ErrorOptions & { readonly detail?: string; readonly hint?: string },
  ) {
    super(message, options)
    this.name = 'DatabaseError'
    this.sqlState = sqlState
    this.constraint = constraint
    this.detail = options?.detail ?? null
    this.hint = options?.hint ?? null
  }
  /** No fault of the statement: the server is not reached, starts, stops, or takes no more connections. */
  get isAway(): boolean {
    return /^(08|57P0|53300)/.test(this.sqlState)
  }
}

/** Copies are made by the files of a server of our own. */
export class CloneUnavailable extends Error {}

/** Why there are no databases to work with; a sentence for the operator. */
export class DatabaseUnusable extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'DatabaseUnusable'
  }
}
