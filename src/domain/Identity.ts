import { Schema } from "effect"

/**
 * An issuer, or an issuer's name for a user: 1 to 255 characters without control characters, compared byte for byte:
 * nothing is trimmed, folded or normalised. Lone surrogates are refused, as UTF-8 has no bytes for them.
 */
const Name = Schema.String.pipe(Schema.pattern(/^[^\p{Cc}\p{Cs}]{1,255}$/u))

/** An account of an issuer of tokens. */
export const Identity = Schema.Struct({
  /** The token's `iss`. */
  issuer: Name,
  /** The issuer's name for the user, such as `auth0|5f7c` or a UUID. */
  subject: Name
})
export type Identity = typeof Identity.Type

export const isIdentityName = Schema.is(Name)
