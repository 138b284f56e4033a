import { createServer } from "node:http"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Option } from "effect"
import { Offline, RateLimits, Routes, Services, Sql } from "taskchat"
import { routes } from "./App.ts"
import { Sessions } from "./Users.ts"

/** PostgreSQL where DATABASE_URL is set, else an embedded one in `.data`. */
const database = Layer.unwrapEffect(
  Effect.map(
    Config.option(Config.redacted("DATABASE_URL")),
    Option.match({ onNone: () => Sql.layerEmbedded({ dataDir: ".data" }), onSome: (url) => Sql.layer({ url }) })
  )
)

const server = Layer.unwrapEffect(
  Effect.map(Config.port("PORT").pipe(Config.withDefault(3000)), (port) =>
    NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" })
  )
)

Routes.serve(routes, server).pipe(
  Layer.tap(() => Effect.log("Listening")),
  // The model: OpenAi.layer, ChatCompletions.layer, or any LanguageModel of @effect/ai.
  Layer.provide(Services.layer({ instructions: "You help the people of this app with their tasks." })),
  Layer.provide([
    Offline.layer,
    database,
    Sessions.layerExample,
    RateLimits.layerMemory({ chat: { limit: 60 }, api: { limit: 600 } })
  ]),
  Layer.launch,
  NodeRuntime.runMain
)
