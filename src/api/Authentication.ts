import { HttpApiMiddleware, HttpApiSecurity, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { ErasureInProgress } from "../domain/Erasure.ts"
import { wire } from "../domain/Problem.ts"
import { CurrentUser, InvalidToken, MissingToken, RateLimited, Unavailable, UserMismatch } from "../domain/Request.ts"

/** Identifies the user by the token, and checks that the URL is theirs. */
export class Authentication extends HttpApiMiddleware.Tag<Authentication>()("taskchat/api/Authentication", {
  failure: Schema.Union(wire(MissingToken), wire(InvalidToken), wire(UserMismatch), wire(Unavailable)),
  provides: CurrentUser,
  security: {
    bearer: HttpApiSecurity.bearer.pipe(
      HttpApiSecurity.annotate(
        OpenApi.Description,
        "A JWT whose claim `user_id` (integer), else `sub` (decimal string), names the user, and which has `exp`."
      ),
      HttpApiSecurity.annotate(OpenApi.Format, "JWT")
    )
  }
}) {}

const refusals = Schema.Union(wire(RateLimited), wire(ErasureInProgress))

/** Counts a chat request of the user, and refuses it over the limit or while the user's data is being erased. */
export class ChatRateLimit extends HttpApiMiddleware.Tag<ChatRateLimit>()("taskchat/api/ChatRateLimit", {
  failure: refusals
}) {}

/** Counts any other request of the user, and refuses it over the limit or while the user's data is being erased. */
export class ApiRateLimit extends HttpApiMiddleware.Tag<ApiRateLimit>()("taskchat/api/ApiRateLimit", {
  failure: refusals
}) {}

/** Counts any other request of the user, and refuses it over the limit only. */
export class ErasureRateLimit extends HttpApiMiddleware.Tag<ErasureRateLimit>()("taskchat/api/ErasureRateLimit", {
  failure: wire(RateLimited)
}) {}
