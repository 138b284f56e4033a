#!/usr/bin/env node
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer } from "effect"
import * as Cli from "./server/Cli.ts"
import * as Composition from "./server/Composition.ts"

NodeRuntime.runMain(
  Cli.run({
    serve: (settings) =>
      Layer.launch(Layer.provide(Composition.serve(settings), Composition.tracing(settings.logging))),
    chat: (settings, conversation) =>
      Effect.provide(
        conversation,
        Layer.provideMerge(Composition.service(settings), Composition.tracing(settings.logging))
      ),
    mcp: (settings, token) =>
      Effect.promise(() => import("./server/McpStdio.ts")).pipe(
        Effect.flatMap(({ serve }) => serve(token, Composition.mcpStdio(settings))),
        Effect.provide(Composition.tracing(settings.logging))
      ),
    migrate: (settings, change) => Effect.provide(change, Composition.database(settings.database)),
    erase: Composition.erase,
    tokens: Composition.tokens
  }),
  { disableErrorReporting: true, disablePrettyLogger: true }
)
