/** What a client may do with the same request: send it again at once, after a wait, or not before changing it. */
export type Retry = 'never' | 'now' | 'after'

interface ErrorEntry {
  status: number
  retry: Retry
  hint: string
}

/**
 * Every error that Mayfly reports of itself. Status, retry and hint are decided here, once;
 * the message is written at the fault. Foreign dialects (Lambda, PostgREST…) map these to their own words.
 * Kept in alphabetical order; docs/errors.md is made from it.
 */
export const ERRORS = {
  alias_exists: { status: 409, retry: 'never', hint: 'Choose another name, or update the alias that is there.' },
  alias_not_found: { status: 404, retry: 'never', hint: 'Check the name with `mayfly alias <function>`.' },
  app_broken: { status: 422, retry: 'never', hint: 'Correct the line that the message names and deploy again.' },
  bad_request: { status: 400, retry: 'never', hint: 'Correct the request as the message says.' },
  body_not_json: { status: 400, retry: 'never', hint: 'Send a JSON document as the body.' },
  clone_unavailable: { status: 409, retry: 'never', hint: 'Make a project with `mayfly projects create`, and fill it by a dump of the other.' },
  cross_origin: { status: 403, retry: 'never', hint: "The console's address serves its own pages only; call the API with a key instead." },
  database_unavailable: { status: 503, retry: 'after', hint: 'Send the request again when the database is back; the log of the node says what it met.' },
  dead_letter_not_found: { status: 404, retry: 'never', hint: 'List them with `mayfly dlq ls`; one that was replayed or removed is gone.' },
  dependencies_failed: {
    status: 422,
    retry: 'never',
    hint: 'Correct package.json or its lockfile as npm says, or name another registry with `--npm-registry`.',
  },
  deploy_token_exists: { status: 409, retry: 'never', hint: 'Choose another name, or revoke that one with `mayfly tokens rm <name>`.' },
  deploy_token_invalid: {
    status: 401,
    retry: 'never',
    hint: 'Make another where the node runs, with `mayfly tokens create <name>`, and give it to the build server as MAYFLY_TOKEN; `mayfly tokens ls` says when each ends.',
  },
  deploy_token_not_found: { status: 404, retry: 'never', hint: 'List them with `mayfly tokens ls`.' },
  deploy_tokens_full: { status: 409, retry: 'never', hint: 'Revoke what nobody uses: `mayfly tokens ls` says when each was used last.' },
  deployment_conflict: {
    status: 409,
    retry: 'never',
    hint: 'Give it another name, take it out of the project file of the other deployment first, or deploy to a project of its own: `mayfly projects create <ref>`, then `--project <ref>`.',
  },
  deployment_failed: { status: 409, retry: 'never', hint: 'Correct what the message names and deploy again: the rest stands as far as it came.' },
  code_mismatch: { status: 400, retry: 'never', hint: 'Look at the code that the function has now; it is not what you wanted to publish.' },
  deployment_not_found: { status: 404, retry: 'never', hint: 'Check the name: it is the `name` of the project file.' },
  function_changing: { status: 409, retry: 'after', hint: 'Look at what the other change made of it, then send yours again.' },
  function_concurrency_reached: { status: 429, retry: 'after', hint: 'Wait, send the work to a queue, or reserve more for the function.' },
  function_exists: { status: 409, retry: 'never', hint: 'Choose another name, or update the function that is there.' },
  function_not_found: { status: 404, retry: 'never', hint: 'Check the name with `mayfly ls`.' },
  function_not_ready: { status: 409, retry: 'after', hint: 'The function is being created; ask again in a moment.' },
  function_failed: { status: 502, retry: 'never', hint: 'The function ended with an error; `mayfly logs` shows it under the request id.' },
  function_reply_invalid: { status: 502, retry: 'never', hint: 'Return an HTTP status from 200 to 599 as `statusCode`.' },
  function_timeout: { status: 504, retry: 'never', hint: 'Raise the timeout of the function, or let it do less at once.' },
  function_url_exists: { status: 409, retry: 'never', hint: 'Change the address that is there, or remove it first.' },
  function_url_not_found: { status: 404, retry: 'never', hint: 'Make one with `mayfly url <function> --create`.' },
  inspected_already: { status: 409, retry: 'after', hint: 'Close the other debugger first; one looks into a version at a time.' },
  internal: { status: 500, retry: 'after', hint: 'This is a fault of Mayfly. The log names it under the request id.' },
  invocation_not_found: { status: 404, retry: 'never', hint: 'Check the id, and the project; what ended long ago is kept no longer.' },
  issuer_not_found: { status: 404, retry: 'never', hint: 'List them with `mayfly keys issuers`.' },
  key_invalid: { status: 401, retry: 'never', hint: 'Send a key of this project in `apikey` or `Authorization: Bearer`.' },
  key_last: { status: 409, retry: 'never', hint: 'Make another first with `mayfly keys new`, or replace it with `mayfly keys rotate`.' },
  key_missing: { status: 401, retry: 'never', hint: 'Send a key of this project in `apikey` or `Authorization: Bearer`.' },
  key_not_found: { status: 404, retry: 'never', hint: 'List them with `mayfly keys ls`.' },
  key_taken: { status: 409, retry: 'never', hint: 'Delete the project that has it, or leave the key out: then one is made.' },
  keys_full: { status: 409, retry: 'never', hint: 'Revoke keys that nobody uses: `mayfly keys ls`, `mayfly keys revoke`.' },
  login_code_invalid: { status: 401, retry: 'never', hint: 'A code is valid once and for 15 minutes; `mayfly console` gives a fresh one.' },
  layer_missing: {
    status: 400,
    retry: 'never',
    hint: 'Name a version that `mayfly layers ls` shows, or publish it first with `mayfly layers publish <name> <folder>`.',
  },
  layer_not_found: { status: 404, retry: 'never', hint: 'Check name and number with `mayfly layers ls`.' },
  message_not_in_flight: { status: 409, retry: 'never', hint: 'Its time was over, or another has received it; receive it again.' },
  method_not_allowed: { status: 405, retry: 'never', hint: 'Use one of the methods named in the `Allow` header.' },
  migration_changed: {
    status: 409,
    retry: 'never',
    hint: 'Bring the file back as it was (`git log -- <file>`) and write the change as a new one: `mayfly db new <name>`. A database that may be emptied starts over with `mayfly db reset`.',
  },
  migration_failed: { status: 422, retry: 'never', hint: 'Correct the line that the message names and run it again.' },
  migration_out_of_order: {
    status: 409,
    retry: 'never',
    hint: 'Give the file a number behind those that are applied, or run it all the same with `mayfly db up --include-all`.',
  },
  migrations_running: { status: 409, retry: 'after', hint: 'Wait for the other run to end, then look with `mayfly db status`.' },
  misdirected_request: { status: 421, retry: 'never', hint: 'Call a host name that this node serves; add others with `--allow-host`.' },
  move_not_found: { status: 404, retry: 'never', hint: 'Moves that have ended cannot be cancelled.' },
  move_running: { status: 409, retry: 'after', hint: 'Wait until the move that is under way has ended.' },
  node_busy: { status: 503, retry: 'after', hint: 'Send the request again in a moment; it was not begun.' },
  not_allowed: { status: 403, retry: 'never', hint: 'Use a key that has this right.' },
  not_inspectable: { status: 409, retry: 'never', hint: 'Inspect a Node function on a node whose sandboxes are those of crun, runc or bubblewrap.' },
  not_found: { status: 404, retry: 'never', hint: 'Check the path; the routes are listed in docs/api.md.' },
  nothing_before: {
    status: 409,
    retry: 'never',
    hint: 'Choose a version with `mayfly versions <function>` and point the alias at it with `mayfly alias <function> <alias> <version>`.',
  },
  payload_too_large: { status: 413, retry: 'never', hint: 'Send less, or put the body in a bucket and pass its key.' },
  process_lost: { status: 502, retry: 'never', hint: 'The work may be done: look at what it should have done before you send the request again.' },
  profile_exceeded: {
    status: 400,
    retry: 'never',
    hint: 'Ask for less, or have the operator give the project another limit profile: `mayfly projects set <ref> --profile <name>`.',
  },
  project_busy: { status: 409, retry: 'after', hint: 'End what the message names, or wait for it; then pause the project again.' },
  port_taken: { status: 409, retry: 'never', hint: 'Choose another port, or end what has it.' },
  project_exists: { status: 409, retry: 'never', hint: 'Choose another ref.' },
  project_not_found: { status: 404, retry: 'never', hint: 'Check the ref of the project.' },
  queue_exists: { status: 409, retry: 'never', hint: 'Change its settings, or choose another name.' },
  queue_full: { status: 429, retry: 'after', hint: 'Wait until the queue is shorter; `mayfly dlq ls` and `mayfly logs` show what holds it up.' },
  queue_not_found: { status: 404, retry: 'never', hint: 'List them with `mayfly queues ls`.' },
  queue_not_empty: { status: 409, retry: 'never', hint: 'Receive what is in it, purge it, or remove it with its messages: `mayfly queues rm <name> --yes`.' },
  queue_storage_full: { status: 429, retry: 'after', hint: 'Receive and delete messages, purge a queue, or raise MAYFLY_QUEUES_PROJECT_MB.' },
  queues_full: { status: 409, retry: 'never', hint: 'Remove queues that are not used, or raise MAYFLY_QUEUES_PER_PROJECT.' },
  realtime_unavailable: { status: 503, retry: 'never', hint: 'Run `mayfly doctor`: it says what streaming row changes needs of PostgreSQL.' },
  receipt_invalid: { status: 400, retry: 'never', hint: 'Use the receipt that came with the message, at the queue that it came from.' },
  recursion_too_deep: { status: 400, retry: 'never', hint: 'End the loop: a function may not stand behind 16 others.' },
  request_timeout: { status: 408, retry: 'now', hint: 'Send the whole request faster.' },
  revision_mismatch: { status: 412, retry: 'never', hint: 'Read the function again and send its current revision id.' },
  sandbox_lost: { status: 503, retry: 'now', hint: 'Send the request again: the sandbox was shared with a call that ended it.' },
  sandbox_unavailable: { status: 503, retry: 'after', hint: 'Run `mayfly doctor`: it says what isolation needs on this machine.' },
  route_conflict: { status: 409, retry: 'never', hint: 'Give one of the two another path or other methods; `mayfly triggers` lists them.' },
  route_not_found: { status: 404, retry: 'never', hint: 'Check the path; `mayfly triggers` lists the routes of a project and their methods.' },
  secret_not_found: { status: 404, retry: 'never', hint: 'Check the name with `mayfly secrets ls`.' },
  session_missing: { status: 401, retry: 'never', hint: 'Sign in with the address that `mayfly console` gives.' },
  shutting_down: { status: 503, retry: 'after', hint: 'The node is stopping; send the request again when it is back.' },
  site_not_found: { status: 404, retry: 'never', hint: 'Check the name with `mayfly sites`.' },
  storage_full: { status: 507, retry: 'after', hint: 'Free space on the file system that the message names.' },
  token_expired: { status: 401, retry: 'never', hint: 'Refresh the session of the user, or sign in again.' },
  token_invalid: { status: 401, retry: 'never', hint: 'Send the access token of a user of this project as `Authorization: Bearer`, or none.' },
  token_refused: {
    status: 401,
    retry: 'never',
    hint: 'The token is not meant for this: issuer, audience, time and role must be those that the project believes.',
  },
  token_role_unknown: {
    status: 401,
    retry: 'never',
    hint: 'Let the token say `anon` or `authenticated` as its role; roles of a project’s own are not served.',
  },
  too_many_aliases: { status: 400, retry: 'never', hint: 'Delete aliases that are not needed any more.' },
  too_many_bytes: { status: 429, retry: 'after', hint: 'Wait until other requests of the project have ended, or send large files to a bucket.' },
  too_many_channels: { status: 429, retry: 'never', hint: 'Leave channels that are not needed, or open another socket.' },
  too_many_attempts: { status: 429, retry: 'after', hint: 'Wait a minute, then use a fresh code: `mayfly console`.' },
  too_many_invocations: { status: 429, retry: 'after', hint: 'Wait, send the work to a queue, or raise the concurrency.' },
  too_many_joins: { status: 429, retry: 'after', hint: 'Join again in a second.' },
  too_many_messages: { status: 429, retry: 'after', hint: 'Send less often, or raise `--realtime-messages`.' },
  too_many_sockets: { status: 429, retry: 'after', hint: 'Close sockets that are not needed, or raise `--realtime-sockets`.' },
  uri_invalid: { status: 400, retry: 'never', hint: 'Percent-encode the path correctly.' },
  version_not_found: { status: 404, retry: 'never', hint: 'Check the number with `mayfly versions <function>`.' },
  version_broken: { status: 422, retry: 'never', hint: 'Correct the code and deploy it again; until then the version before it serves.' },
  version_in_use: { status: 409, retry: 'never', hint: 'Point the aliases at another version first, or delete them.' },
  webhook_not_found: { status: 404, retry: 'never', hint: 'Take the address from `mayfly triggers`; one that rests takes nothing.' },
  webhook_signature_invalid: {
    status: 401,
    retry: 'never',
    hint: "Give the sender the value of the project's secret that the trigger names, and the trigger the provider that the sender is.",
  },
  webhook_too_old: { status: 401, retry: 'never', hint: 'Send it again, signed anew; else set the clock of the sender.' },
  zip_invalid: { status: 400, retry: 'never', hint: 'Send a zip archive of plain files and folders with relative names.' },
} as const satisfies Record<string, ErrorEntry>

export type ErrorCode = keyof typeof ERRORS

/** An error of the catalogue, with a message about this very fault. Never carries secrets. */
export class MayflyError extends Error {
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'MayflyError'
    this.code = code
  }
  get status(): number {
    return ERRORS[this.code].status
  }
  get hint(): string {
    return ERRORS[this.code].hint
  }
}
