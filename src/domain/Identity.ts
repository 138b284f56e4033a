import { Schema } from "effect"

/**
 * An issuer, or what an issuer calls a user: 1 to 255 characters without control characters. Two that differ in any byte
 * are different: nothing is trimmed, folded or normalised. A lone surrogate has no bytes in UTF-8 and is refused.
 */
const Name = Schema.String.pipe(Schema.pattern(/^[^\p{Cc}\p{Cs}]{1,255}$/u))

/** An account at whoever issues the tokens. */
export const Identity = Schema.Struct({
  /** The token's `iss`. */
  issuer: Name,
  /** What the issuer calls the user, such as `auth0|5f7c` or a UUID. */
  subject: Name
})
export type Identity = typeof Identity.Type

export const isIdentityName = Schema.is(Name)
