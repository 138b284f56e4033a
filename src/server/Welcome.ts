import { HttpServer } from "@effect/platform"
import { Console, Effect, Layer, Option } from "effect"
import { nameOf, type Settings } from "../Config.ts"
import { UserId } from "../domain/Id.ts"
import { isLoopback } from "../domain/Loopback.ts"
import { Tokens } from "../services/access/Tokens.ts"
import * as Logging from "./Logging.ts"

/**
 * Logs the address of the service. With the development secret, it also prints a token and examples for new users. If
 * the log is JSON, it prints them to standard error, because programs read the log.
 */
export const layer = ({ auth, database, logging, model, server }: Settings) =>
  Layer.effectDiscard(
    HttpServer.addressFormattedWith((address) =>
      Effect.gen(function* () {
        yield* Effect.logInfo("Listening").pipe(Effect.annotateLogs({ address }))
        if (model._tag !== "offline" && Option.isSome(model.fallback)) {
          const fallback = nameOf(model.fallback.value)
          yield* Effect.annotateLogs(Effect.logInfo("Conversations go to the services of both models"), {
            model: nameOf(model),
            fallback
          })
        }
        if (Option.isNone(server.publicUrl) && !isLoopback(server.host)) {
          yield* Effect.logWarning("PUBLIC_URL is not set: MCP clients are not told who issues tokens")
        }
        if (auth.keys._tag !== "development") return
        const tokens = yield* Tokens
        const token = yield* Effect.orDie(tokens.issue(UserId.make(1), "1 day"))
        const store = database.url._tag === "Some" ? "PostgreSQL" : `the embedded PostgreSQL in ${database.dataDir}/`
        const llm = model._tag === "offline" ? "the offline stand-in for a model" : `${model.model} (${model._tag})`
        const isJson = Logging.isJson(logging)
        const print = isJson ? Console.error : Console.log
        // The URL with the token signs in whoever opens it. Print it only to a terminal, because other output may be
        // stored.
        const { isTTY } = isJson ? process.stderr : process.stdout
        const page = server.page ? `\n  Page:  ${address}/${isTTY ? `#token=${token}` : ""}` : ""
        yield* print(`
taskchat listens on ${address}, with ${store} and ${llm}${page}
  Docs:  ${address}/docs
  Token: ${token}
         (of user 1, valid for a day; for another user: npx taskchat token --user 2)

Try it:
  curl -s ${address}/api/me/chat -H 'Authorization: Bearer ${token}' -H 'Content-Type: application/json' -d '{"message":"add buy milk and call the bank tomorrow at 9"}'
`)
      })
    )
  )
