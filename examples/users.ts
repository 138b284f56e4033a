/** Another source of users: the sessions of the app that embeds the API, by a cookie instead of a token. */
import { HttpServerRequest } from "@effect/platform"
import { Context, Effect, Option } from "effect"
import { InvalidToken, MissingToken, Routes, type UserId } from "taskchat"

export class Sessions extends Context.Tag("example/Sessions")<
  Sessions,
  { readonly userOf: (session: string) => Effect.Effect<Option.Option<UserId>> }
>() {}

/** In place of the tokens, for `Routes.layerOpen`, `Mcp.layerOpen` and each of the groups. */
export const authentication = Routes.authentication(
  Effect.map(Sessions, (sessions) =>
    Effect.gen(function* () {
      const { cookies } = yield* HttpServerRequest.HttpServerRequest
      const session = cookies["session"]
      if (session === undefined) return yield* new MissingToken({ detail: "Log in first." })
      return yield* Option.match(yield* sessions.userOf(session), {
        onNone: () => new InvalidToken({ detail: "The session has ended." }),
        onSome: (id) => Effect.succeed({ id })
      })
    })
  ),
  // For the documentation, and its page to try things out with.
  { scheme: { type: "apiKey", in: "cookie", name: "session" } }
)
