interface Alert {
  readonly id: string
  readonly detail: { readonly errors: number; readonly since: string; readonly last: { readonly function: string; readonly message: string } }
}

/** What it returns stands in the webhook that follows, as `responsePayload`. */
export const handler = async ({ id, detail: { errors, since, last } }: Alert) => ({
  minute: id,
  errors,
  since,
  text: `${errors} errors within a minute; the last of ${last.function}: ${last.message}`,
})
