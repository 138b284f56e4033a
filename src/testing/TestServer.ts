import type { LanguageModel } from "@effect/ai"
import { FetchHttpClient, HttpApp, HttpLayerRouter, HttpServer } from "@effect/platform"
import type { SqlClient } from "@effect/sql"
import { Context, Duration, Effect, Layer } from "effect"
import * as Client from "../client.ts"
import type { UserId } from "../domain/Id.ts"
import * as Fallback from "../http/Fallback.ts"
import * as Mcp from "../http/mcp/Mcp.ts"
import * as Routes from "../http/Routes.ts"
import type { Idempotency } from "../services/access/Idempotency.ts"
import { type Limits, RateLimits } from "../services/access/RateLimits.ts"
import { Tokens } from "../services/access/Tokens.ts"
import type { TokenUsage } from "../services/access/TokenUsage.ts"
import type { Conversations } from "../services/Conversations.ts"
import * as Services from "../services/Services.ts"
import type { Tasks } from "../services/tasks/Tasks.ts"
import * as TaskTools from "../services/tasks/TaskTools.ts"
import type { Chat } from "../services/turns/Chat.ts"
import type { Turns } from "../services/turns/Turns.ts"
import type { Signals } from "../sql/Signals.ts"
import * as Sql from "../sql/Sql.ts"
import * as ScriptedModel from "./ScriptedModel.ts"
import * as TestTokens from "./TestTokens.ts"

export interface OpenOptions extends Services.Options {
  /** The model's script. */
  readonly script: ScriptedModel.Script
  /** Rate limits per user, in windows by the `Clock`. Default: practically unlimited. */
  readonly limits?: Limits
  /** In code points. Default: 4000. */
  readonly messageMaxLength?: number
}

export interface Options extends OpenOptions {
  /** Default: a new database in memory. */
  readonly database?: Layer.Layer<SqlClient.SqlClient | Signals>
}

type Everything =
  | TestServer
  | ScriptedModel.ScriptedModel
  | LanguageModel.LanguageModel
  | Chat
  | Tasks
  | Conversations
  | Turns
  | Idempotency
  | TokenUsage
  | Tokens
  | RateLimits

/**
 * The whole service in this process. Its routes are called without a socket, its model follows a script, its database
 * is new and in memory, and its time comes from `Clock`. Wait for the model (`ScriptedModel.untilAsked`) before you
 * move a `TestClock`, because the database takes real time.
 */
export class TestServer extends Context.Tag("taskchat/testing/TestServer")<
  TestServer,
  {
    /** A client with a token of this user. */
    readonly client: (user: UserId) => Effect.Effect<Client.Derived & Client.Streams>
    /** Sends a request to the service. The host of the URL does not matter. */
    readonly fetch: typeof globalThis.fetch
  }
>() {
  static readonly layer = (options: Options): Layer.Layer<Everything | SqlClient.SqlClient | Signals> =>
    Layer.provideMerge(TestServer.layerOpen(options), options.database ?? Sql.layerTest)

  /** With a database that several tests share, because each takes a second to start. */
  static readonly layerOpen = (options: OpenOptions): Layer.Layer<Everything, never, SqlClient.SqlClient | Signals> =>
    Layer.provideMerge(Layer.scoped(TestServer, make(options)), services(options))
}

const plenty = { limit: 1_000_000 }

const services = (options: OpenOptions) =>
  Services.layer(options).pipe(
    Layer.provideMerge(
      Layer.mergeAll(
        ScriptedModel.layer(options.script),
        Tokens.layerTest,
        RateLimits.layerMemory(options.limits ?? { api: plenty, chat: plenty })
      )
    )
  )

const make = (options: OpenOptions) =>
  Effect.gen(function* () {
    const routes = Layer.mergeAll(
      Routes.layer({ messageMaxLength: options.messageMaxLength ?? 4000 }),
      Layer.provide(Mcp.layer({ origins: [] }), TaskTools.layer),
      Fallback.layer
    )
    const app = yield* HttpLayerRouter.toHttpEffect(Layer.provide(routes, HttpServer.layerContext))
    const handle = HttpApp.toWebHandlerRuntime(yield* Effect.runtime<Tokens>())(app)
    const fetch: typeof globalThis.fetch = (input, init) => handle(new Request(input, init))
    const tokens = yield* Tokens
    return TestServer.of({
      fetch,
      client: (user) =>
        Client.make({
          baseUrl: "http://taskchat.test",
          token: Effect.provideService(TestTokens.tokenOf(user), Tokens, tokens),
          // An idle timeout would run by the `TestClock`.
          idleTimeout: Duration.infinity
        }).pipe(Effect.provide(FetchHttpClient.layer), Effect.provideService(FetchHttpClient.Fetch, fetch))
    })
  })
