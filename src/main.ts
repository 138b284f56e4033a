#!/usr/bin/env node
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer } from "effect"
import * as Cli from "./server/Cli.ts"
import * as Composition from "./server/Composition.ts"
import * as McpStdio from "./server/McpStdio.ts"
import * as Tracing from "./server/Tracing.ts"

NodeRuntime.runMain(
  Cli.run({
    serve: (settings) => Layer.launch(Layer.provide(Composition.serve(settings), Tracing.layer(settings.logging))),
    chat: (settings, talk) =>
      Effect.provide(talk, Layer.provideMerge(Composition.service(settings), Tracing.layer(settings.logging))),
    mcp: (settings, token) =>
      Effect.provide(McpStdio.serve(token, Composition.mcpStdio(settings)), Tracing.layer(settings.logging)),
    migrate: (settings, change) => Effect.provide(change, Composition.database(settings.database)),
    erase: Composition.erase,
    tokens: Composition.tokens
  }),
  { disableErrorReporting: true, disablePrettyLogger: true }
)
