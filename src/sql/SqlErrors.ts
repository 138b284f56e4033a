import { SqlError } from "@effect/sql/SqlError"
import { Effect, ParseResult, Predicate } from "effect"

/**
 * The name of the constraint or unique index that a statement violated, on either engine; `undefined` for any other
 * failure. The parts of a split table have a number in their names (`turns_slots_102009` on Citus, `turns_0_pkey` of a
 * partition), which is removed.
 */
export const violated = (error: SqlError): string | undefined =>
  property(error.cause, "code")?.startsWith("23")
    ? property(error.cause, "constraint")?.replace(/_\d+(?=_|$)/, "")
    : undefined

/** True if a statement called `turn_lost()`: this node no longer holds the lease of the turn. */
export const isTurnLost = (error: SqlError): boolean => property(error.cause, "code") === "TC001"

/** True if `erasure_fence()` refused a row, because the data of its user is being erased. Takes any value. */
export const isErasing = (error: unknown): boolean =>
  error instanceof SqlError && property(error.cause, "code") === "TC002"

/**
 * Turns failed statements, and rows that do not match their schema, into defects: a service's callers cannot act on
 * either.
 */
export const dieOnSql = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.catchIf(
    effect,
    (error: E): error is Extract<E, SqlError | ParseResult.ParseError> =>
      error instanceof SqlError || ParseResult.isParseError(error),
    Effect.die
  )

/**
 * True if the database is unavailable, so that a later retry may help. All other failures are defects. Takes any value,
 * so that defects can be checked too.
 */
export const isUnavailable = (error: unknown): boolean => error instanceof SqlError && isAway(error.cause)

const isAway = (cause: unknown): boolean => {
  const code = property(cause, "code")
  if (code !== undefined && (sqlStates.test(code) || network.has(code))) return true
  const message = property(cause, "message")
  if (message !== undefined && driver.test(message)) return true
  // A refusal on every address of a name; a pool's timeout around the connection's own failure.
  if (Predicate.hasProperty(cause, "errors") && Array.isArray(cause.errors)) return cause.errors.some(isAway)
  return Predicate.hasProperty(cause, "cause") && isAway(cause.cause)
}

/**
 * Connection exceptions (08), a transaction rolled back because of another one (40), out of memory, disk or connections
 * (53), shutdown, crash and start (57P), a session ended for its idle transaction (25P03), read only after a failover
 * (25006).
 */
const sqlStates = /^(08...|40...|53...|57P..|25P03|25006)$/

const network = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETUNREACH",
  "ENETDOWN",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENOENT" // the server's Unix socket
])

/** The drivers' messages without a code. */
const driver =
  /^(Connection terminated|timeout (exceeded when trying to connect|expired)|Client (has encountered|was closed)|Cannot use a pool after|Query read timeout|PGlite is clos)/

const property = (u: unknown, name: string): string | undefined => {
  if (!Predicate.hasProperty(u, name)) return undefined
  const value = u[name]
  return typeof value === "string" ? value : undefined
}
