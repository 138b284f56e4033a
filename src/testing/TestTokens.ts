import { type Duration, Effect, Redacted } from "effect"
import type { UserId } from "../domain/Id.ts"
import { Tokens } from "../services/access/Tokens.ts"

/** A token of this user, signed by the `Tokens` in the context. Valid for an hour by default. */
export const tokenOf = (
  user: UserId,
  ttl: Duration.DurationInput = "1 hour"
): Effect.Effect<Redacted.Redacted, never, Tokens> =>
  Effect.flatMap(Tokens, (tokens) => Effect.map(Effect.orDie(tokens.issue(user, ttl)), Redacted.make))
