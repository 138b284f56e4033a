import { HttpLayerRouter } from "@effect/platform"
import { Data, Duration, Effect, Layer, Option } from "effect"
import * as Config from "../Config.ts"
import type { UserId } from "../domain/Id.ts"
import { isLoopback } from "../domain/Loopback.ts"
import * as Authentication from "../http/Authentication.ts"
import * as Cors from "../http/Cors.ts"
import * as Fallback from "../http/Fallback.ts"
import * as Hosts from "../http/Hosts.ts"
import { PublicUrl } from "../http/Mount.ts"
import * as Mcp from "../http/mcp/Mcp.ts"
import * as Page from "../http/page/Page.ts"
import * as Routes from "../http/Routes.ts"
import * as Offline from "../models/Offline.ts"
import type * as OpenAi from "../models/OpenAi.ts"
import { Budgets } from "../services/access/Budgets.ts"
import { Identities } from "../services/access/Identities.ts"
import { RateLimits } from "../services/access/RateLimits.ts"
import { Tokens } from "../services/access/Tokens.ts"
import * as UserIds from "../services/access/UserIds.ts"
import { FallbackModel, ModelName } from "../services/agent/Models.ts"
import { Erasing } from "../services/data/Erasing.ts"
import { Erasure } from "../services/data/Erasure.ts"
import * as Services from "../services/Services.ts"
import { Tasks } from "../services/tasks/Tasks.ts"
import * as TaskTools from "../services/tasks/TaskTools.ts"
import { DirectoryInUse } from "../sql/DirectoryLock.ts"
import * as Sql from "../sql/Sql.ts"
import * as Cli from "./Cli.ts"
import * as Keys from "./Keys.ts"
import * as ProcessMetrics from "./ProcessMetrics.ts"
import * as Server from "./Server.ts"
import { layerWithProgress } from "./Starting.ts"
import * as Welcome from "./Welcome.ts"

// The layers for the given settings. Modules that most installations do not need are loaded on demand.

export const database = ({ dataDir, poolSize, url }: Config.Settings["database"]) =>
  Option.match(url, {
    onNone: () => layerWithProgress(`Opening the embedded database in ${dataDir}`)(Sql.layerEmbedded({ dataDir })),
    onSome: (url) =>
      layerWithProgress("Connecting to PostgreSQL and bringing the database up to date")(Sql.layer({ url, poolSize }))
  })

/** The agent's model with its name, and its fallback. */
const model = (settings: Config.Model) => {
  if (settings._tag === "offline") return Layer.merge(Offline.layer, Layer.succeed(ModelName, settings._tag))
  return Layer.mergeAll(
    provider(settings),
    Layer.succeed(ModelName, Config.nameOf(settings)),
    Option.match(settings.fallback, {
      onNone: () => Layer.empty,
      onSome: (fallback) => FallbackModel.layer(Config.nameOf(fallback), provider(fallback))
    })
  )
}

/** Loads the chosen provider only. OpenAI's dependencies would double the time and memory of a start. */
const provider = (settings: Config.Provider) => {
  switch (settings._tag) {
    case "openai":
      return loaded(() => import("../models/OpenAi.ts"), settings)
    case "chat-completions":
      return loaded(() => import("../models/ChatCompletions.ts"), settings)
    case "anthropic":
      return loaded(() => import("../models/Anthropic.ts"), settings)
  }
}

const loaded = (load: () => Promise<Pick<typeof OpenAi, "layer">>, settings: Config.Provider) =>
  Layer.unwrapEffect(Effect.map(Effect.promise(load), ({ layer }) => layer(upstream(settings)))).pipe(
    Layer.provide(dispatcher)
  )

const dispatcher = Layer.unwrapEffect(
  Effect.map(
    Effect.promise(() => import("@effect/platform-node/NodeHttpClient")),
    ({ dispatcherLayer }) => dispatcherLayer
  )
)

const upstream = ({ apiKey, maxOutputTokens, temperature, ...rest }: Config.Upstream) => ({
  ...rest,
  apiKey: Option.getOrUndefined(apiKey),
  maxOutputTokens: Option.getOrUndefined(maxOutputTokens),
  temperature: Option.getOrUndefined(temperature)
})

/** Without an exporter, no spans are created. */
export const tracing = (logging: Config.Settings["logging"]) =>
  Option.match(logging.otlp.endpoint, {
    onNone: () => Layer.setTracerEnabled(false),
    onSome: (endpoint) =>
      Layer.unwrapEffect(
        Effect.map(
          Effect.promise(() => import("./Tracing.ts")),
          ({ layer }) => layer(endpoint, logging)
        )
      )
  })

/** Enough to issue tokens, without a database. */
export const tokens = (settings: Pick<Config.Settings, "auth" | "database">) =>
  Layer.unwrapEffect(Effect.map(Keys.options(settings), Tokens.layer))

/** Verifies tokens. Fails if the database was started in the other mode of `USER_IDS`. */
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

const budgets = ({ tokensPerUserPerDay }: Config.Settings["limits"]) =>
  Option.match(tokensPerUserPerDay, {
    onNone: () => Layer.empty,
    onSome: (tokensPerDay) => Budgets.layer({ tokensPerDay })
  })

const services = ({ agent, auth, data, database: db, limits, model: llm }: Config.Settings) =>
  Services.layer({
    ...agent,
    maxOutputTokens: llm._tag === "offline" ? undefined : Option.getOrUndefined(llm.maxOutputTokens),
    maxRunning: limits.runningTurns,
    maxRunningPerUser: limits.runningTurnsPerUser,
    retention: { conversations: Option.getOrUndefined(data.retention), deleted: data.deletedRetention }
  }).pipe(
    Layer.provide([layerWithProgress("Loading the model's client")(model(llm)), budgets(limits)]),
    Layer.provideMerge(Layer.merge(users({ auth, database: db }), rateLimits(limits))),
    Layer.provideMerge(Erasing.layer),
    Layer.provideMerge(database(db))
  )

/** On a loopback `HOST` without `CORS_ORIGINS`, pages of this machine may call the API. */
const cors = ({ corsOrigins, host }: Config.Settings["server"]) =>
  corsOrigins.length === 0 && isLoopback(host) ? Cors.layerLoopback : Cors.layer(corsOrigins)

const mcp = ({ auth, server }: Config.Settings) =>
  Layer.provide(Mcp.layer({ origins: server.corsOrigins, issuer: Option.getOrUndefined(auth.issuer) }), TaskTools.layer)

const drain = ({ shutdownDelay, shutdownGrace }: Config.Settings["server"]) => ({
  delay: Option.getOrElse(shutdownDelay, () => (process.stdout.isTTY ? Duration.zero : Duration.seconds(5))),
  grace: shutdownGrace
})

/** Everything that answers requests. */
export const service = (settings: Config.Settings) =>
  Server.drained(drain(settings.server)).pipe(
    Layer.provideMerge(
      HttpLayerRouter.serve(
        Layer.mergeAll(
          Routes.layer(settings.agent),
          settings.data.eraseEndpoint ? Layer.provide(Routes.erasure, Authentication.layer) : Layer.empty,
          mcp(settings),
          settings.server.page ? Page.layer({ model: settings.model._tag }) : Layer.empty,
          Fallback.layer,
          cors(settings.server)
        ),
        { disableLogger: true, disableListenLog: true }
      )
    ),
    Layer.provide([
      Hosts.layer({ host: settings.server.host, publicUrl: Option.getOrUndefined(settings.server.publicUrl) }),
      Layer.succeed(PublicUrl, settings.server.publicUrl)
    ]),
    // Listen only when everything else is ready: a proxy sends no requests to a node that does not listen yet.
    Layer.provideMerge(Server.layer(settings.server)),
    Layer.provideMerge(services(settings))
  )

export const serve = (settings: Config.Settings) =>
  Layer.merge(Layer.provide(Welcome.layer(settings), service(settings)), ProcessMetrics.layer(Cli.version))

/** Erases a user's data. Nodes may be running. */
export const erase = (settings: Config.Settings, user: UserId) =>
  Effect.flatMap(Erasure, (erasure) => Effect.zipRight(erasure.request(user), erasure.awaitEnd(user))).pipe(
    Effect.provide(
      Layer.merge(Erasure.layer, rateLimits(settings.limits)).pipe(
        Layer.provide(Erasing.layer),
        Layer.provide(database(settings.database))
      )
    )
  )

/** Replaces the message of `DirectoryInUse`: an MCP client may start this program twice. */
class InUse extends Data.TaggedError("InUse")<{ readonly why: string }> {
  override get message() {
    return `${this.why}. If \`taskchat serve\` uses it, give your MCP client the address of that service, with /mcp. Or set DATABASE_URL: a PostgreSQL server accepts many processes.`
  }
}

/** The services that the tools need for MCP over standard input. */
export const mcpStdio = (settings: Config.Settings) =>
  Layer.mergeAll(Layer.provide(TaskTools.layer, Tasks.layer), users(settings), rateLimits(settings.limits)).pipe(
    Layer.provideMerge(Erasing.layer),
    Layer.provide(
      Layer.mapError(database(settings.database), (error) =>
        error instanceof DirectoryInUse ? new InUse({ why: error.message }) : error
      )
    )
  )
