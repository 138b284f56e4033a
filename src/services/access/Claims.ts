import { Either, Schema } from "effect"
import type { JWTPayload } from "jose"
import { UserId } from "../../domain/Id.ts"
import { type Identity, isIdentityName } from "../../domain/Identity.ts"
import { InvalidToken } from "../../domain/Request.ts"

/** Names the faulty claim, never its value. */
const refuse = (detail: string) => Either.left(new InvalidToken({ detail }))

/** The claim that names the user, and its value: `claim`, or without it `user_id`, else `sub`. */
const named = (
  claims: JWTPayload,
  claim: string | undefined
): Either.Either<readonly [name: string, value: unknown], InvalidToken> => {
  const name = claim ?? (Object.hasOwn(claims, "user_id") ? "user_id" : "sub")
  if (!Object.hasOwn(claims, name)) {
    return refuse(
      claim === undefined ? "The token has neither a claim user_id nor a claim sub." : `The token has no claim ${name}.`
    )
  }
  // Otherwise users could claim another's address in their profile.
  if (name === "email" && claims["email_verified"] !== true) {
    return refuse("The token's claim email_verified is missing or not true.")
  }
  return Either.right([name, claims[name]])
}

const isUserId = Schema.is(UserId)

/** The user id in a token. `user_id` must be an integer and `sub` decimal digits; another claim may be either. */
export const userOf = (claims: JWTPayload, claim?: string): Either.Either<UserId, InvalidToken> =>
  Either.flatMap(named(claims, claim), ([name, value]) => {
    const digits = typeof value === "string" && /^[1-9][0-9]{0,15}$/.test(value) ? Number(value) : undefined
    const id = claim === undefined ? (name === "sub" ? digits : value) : (digits ?? value)
    return isUserId(id)
      ? Either.right(id)
      : refuse(`The token's claim ${name} is no user id: a whole number from 1 to 9007199254740991.`)
  })

/** The account that a token names. A number is taken as text. */
export const identityOf = (claims: JWTPayload, claim?: string): Either.Either<Identity, InvalidToken> =>
  Either.flatMap(named(claims, claim), ([name, value]) => {
    const { iss: issuer } = claims
    const subject = Number.isSafeInteger(value) ? String(value) : value
    if (typeof subject !== "string" || !isIdentityName(subject)) return refuse(malformed(name))
    if (issuer === undefined) return refuse("The token has no claim iss.")
    return isIdentityName(issuer) ? Either.right({ issuer, subject }) : refuse(malformed("iss"))
  })

const malformed = (name: string) =>
  `The token's claim ${name} is not text of 1 to 255 characters without control characters.`

/** The claims of a token for this user. */
export const claimsOf = (user: UserId | string, claim?: string): JWTPayload => {
  if (claim !== undefined) return { [claim]: user, ...(claim === "email" && { email_verified: true }) }
  return typeof user === "string" ? { sub: user } : { user_id: user, sub: String(user) }
}
