import { HttpServerRequest } from "@effect/platform"
import { Context, Effect, Layer, Option } from "effect"
import { InvalidToken, MissingToken, Routes, UserId } from "taskchat"

/** Who is signed in to the app. Put your own in its place. */
export class Sessions extends Context.Tag("my-app/Sessions")<
  Sessions,
  { readonly userOf: (session: string) => Effect.Effect<Option.Option<UserId>> }
>() {
  /** Whoever sends the cookie `session=ada`. */
  static readonly layerExample = Layer.succeed(Sessions, {
    userOf: (session) => Effect.succeed(session === "ada" ? Option.some(UserId.make(1)) : Option.none())
  })
}

/** The app's users, by its cookie, in place of tokens. */
export const authentication = Routes.authentication(
  Effect.map(Sessions, (sessions) =>
    Effect.gen(function* () {
      const { cookies } = yield* HttpServerRequest.HttpServerRequest
      const session = cookies["session"]
      if (session === undefined) return yield* new MissingToken({ detail: "Sign in first." })
      return yield* Option.match(yield* sessions.userOf(session), {
        onNone: () => new InvalidToken({ detail: "The session has ended." }),
        onSome: (id) => Effect.succeed({ id })
      })
    })
  ),
  { scheme: { type: "apiKey", in: "cookie", name: "session" } }
)
