#!/usr/bin/env node
import * as OtlpMetrics from "@effect/opentelemetry/OtlpMetrics"
import * as OtlpSerialization from "@effect/opentelemetry/OtlpSerialization"
import * as OtlpTracer from "@effect/opentelemetry/OtlpTracer"
import { HttpLayerRouter } from "@effect/platform"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Duration, Effect, Layer, LogLevel, Option } from "effect"
import type * as Config from "./Config.ts"
import * as Cors from "./http/Cors.ts"
import * as Fallback from "./http/Fallback.ts"
import * as Hosts from "./http/Hosts.ts"
import { PublicUrl } from "./http/Mount.ts"
import * as Mcp from "./http/mcp/Mcp.ts"
import * as Page from "./http/page/Page.ts"
import * as Routes from "./http/Routes.ts"
import * as Offline from "./models/Offline.ts"
import type * as OpenAi from "./models/OpenAi.ts"
import * as Cli from "./server/Cli.ts"
import * as Keys from "./server/Keys.ts"
import * as McpStdio from "./server/McpStdio.ts"
import * as Server from "./server/Server.ts"
import * as Tracing from "./server/Tracing.ts"
import * as Welcome from "./server/Welcome.ts"
import { Identities } from "./services/access/Identities.ts"
import { RateLimits } from "./services/access/RateLimits.ts"
import { Tokens } from "./services/access/Tokens.ts"
import * as UserIds from "./services/access/UserIds.ts"
import * as Services from "./services/Services.ts"
import { Tasks } from "./services/tasks/Tasks.ts"
import * as TaskTools from "./services/tasks/TaskTools.ts"
import * as Sql from "./sql/Sql.ts"

const database = ({ dataDir, poolSize, url }: Config.Settings["database"]) =>
  Option.match(url, {
    onNone: () => Sql.layerEmbedded({ dataDir }),
    onSome: (url) => Sql.layer({ url, poolSize })
  })

/** Only the chosen one is loaded: what OpenAI's brings along would double the time and memory a start takes. */
const model = (settings: Config.Model) => {
  switch (settings._tag) {
    case "offline":
      return Offline.layer
    case "openai":
      return loaded(() => import("./models/OpenAi.ts"), settings)
    case "chat-completions":
      return loaded(() => import("./models/ChatCompletions.ts"), settings)
  }
}

const loaded = (load: () => Promise<Pick<typeof OpenAi, "layer">>, settings: Config.Upstream) =>
  Layer.unwrapEffect(Effect.map(Effect.promise(load), ({ layer }) => layer(upstream(settings)))).pipe(
    Layer.provide(NodeHttpClient.dispatcherLayer)
  )

const upstream = ({ apiKey, maxOutputTokens, temperature, ...rest }: Config.Upstream) => ({
  ...rest,
  apiKey: Option.getOrUndefined(apiKey),
  maxOutputTokens: Option.getOrUndefined(maxOutputTokens),
  temperature: Option.getOrUndefined(temperature)
})

/** Enough to issue tokens, whoever they name. */
const tokens = (settings: Pick<Config.Settings, "auth" | "database">) =>
  Layer.unwrapEffect(Effect.map(Keys.options(settings), Tokens.layer))

/** Whom tokens name; the database has to be one whose users have such ids. */
const users = (settings: Pick<Config.Settings, "auth" | "database">) =>
  settings.auth.userIds === "token"
    ? Layer.merge(tokens(settings), Layer.effectDiscard(UserIds.keep("token")))
    : Layer.provide(Layer.unwrapEffect(Effect.map(Keys.options(settings), Tokens.layerMapped)), Identities.layer)

const rateLimits = ({ api, chat, redisUrl }: Config.Settings["limits"]) => {
  const limits = { api: { limit: api }, chat: { limit: chat } }
  return Option.match(redisUrl, {
    onNone: () => RateLimits.layerMemory(limits),
    onSome: (url) => RateLimits.layerRedis(url, limits)
  })
}

const services = ({ agent, auth, database: data, limits, model: llm }: Config.Settings) =>
  Services.layer({
    ...agent,
    maxRunning: limits.runningTurns,
    maxRunningPerUser: limits.runningTurnsPerUser
  }).pipe(
    Layer.provide(model(llm)),
    Layer.provideMerge(Layer.merge(users({ auth, database: data }), rateLimits(limits))),
    Layer.provideMerge(database(data))
  )

const mcp = ({ auth, server }: Config.Settings) =>
  Layer.provide(Mcp.layer({ origins: server.corsOrigins, issuer: Option.getOrUndefined(auth.issuer) }), TaskTools.layer)

const drain = ({ shutdownDelay, shutdownGrace }: Config.Settings["server"]) => ({
  delay: Option.getOrElse(shutdownDelay, () => (process.stdout.isTTY ? Duration.zero : Duration.seconds(5))),
  grace: shutdownGrace
})

const service = (settings: Config.Settings) =>
  Server.drained(drain(settings.server)).pipe(
    Layer.provideMerge(
      HttpLayerRouter.serve(
        Layer.mergeAll(
          Routes.layer(settings.agent),
          mcp(settings),
          settings.server.page ? Page.layer({ model: settings.model._tag }) : Layer.empty,
          Fallback.layer,
          Cors.layer(settings.server.corsOrigins)
        ),
        { disableLogger: true, disableListenLog: true }
      )
    ),
    Layer.provide([
      Hosts.layer({ host: settings.server.host, publicUrl: Option.getOrUndefined(settings.server.publicUrl) }),
      Layer.succeed(PublicUrl, settings.server.publicUrl)
    ]),
    // Once everything else is ready: a proxy sends nothing to a node that does not listen yet.
    Layer.provideMerge(Server.layer(settings.server)),
    Layer.provideMerge(services(settings))
  )

const serve = (settings: Config.Settings) => Layer.provide(Welcome.layer(settings), service(settings))

const mcpStdio = (settings: Config.Settings) =>
  Layer.mergeAll(Layer.provide(TaskTools.layer, Tasks.layer), users(settings), rateLimits(settings.limits)).pipe(
    Layer.provide(Layer.mapError(database(settings.database), McpStdio.explainLock))
  )

/** Where an exporter is set, spans and metrics go there; where none is, no spans are made. */
const telemetry = ({ level, otlpEndpoint }: Config.Settings["logging"]) =>
  Option.match(otlpEndpoint, {
    onNone: () => Layer.setTracerEnabled(false),
    onSome: (endpoint) => {
      const resource = { serviceName: "taskchat" }
      const tracer = OtlpTracer.make({ url: `${endpoint}/v1/traces`, resource })
      const isDetailed = LogLevel.lessThanEqual(level, LogLevel.Debug)
      return Layer.merge(
        Layer.unwrapScoped(
          Effect.map(tracer, (tracer) => Layer.setTracer(isDetailed ? tracer : Tracing.discreet(tracer)))
        ),
        OtlpMetrics.layer({ url: `${endpoint}/v1/metrics`, resource })
      ).pipe(Layer.provide([OtlpSerialization.layerJson, NodeHttpClient.layerUndici]))
    }
  })

NodeRuntime.runMain(
  Cli.run({
    serve: (settings) => Layer.launch(Layer.provide(serve(settings), telemetry(settings.logging))),
    chat: (settings, talk) => Effect.provide(talk, Layer.provideMerge(service(settings), telemetry(settings.logging))),
    mcp: (settings, token) =>
      Effect.provide(McpStdio.serve(token), Layer.provideMerge(mcpStdio(settings), telemetry(settings.logging))),
    migrate: (settings, change) => Effect.provide(change, database(settings.database)),
    tokens
  }),
  { disableErrorReporting: true, disablePrettyLogger: true }
)
