import { type HttpApi, type HttpApiGroup, HttpLayerRouter } from "@effect/platform"
import { Effect, Layer } from "effect"
import { Api } from "../api/Api.ts"
import * as Base from "../api/Base.ts"
import { ChatApi } from "../api/ChatApi.ts"
import { ConversationsApi } from "../api/ConversationsApi.ts"
import { OperatingApi } from "../api/OperatingApi.ts"
import { TasksApi } from "../api/TasksApi.ts"
import { TurnsApi } from "../api/TurnsApi.ts"
import * as Authentication from "./Authentication.ts"
import * as ChatHttp from "./ChatHttp.ts"
import * as ConversationsHttp from "./ConversationsHttp.ts"
import * as Docs from "./Docs.ts"
import * as Exchange from "./Exchange.ts"
import * as OperatingHttp from "./OperatingHttp.ts"
import * as TasksHttp from "./TasksHttp.ts"
import * as TurnsHttp from "./TurnsHttp.ts"

/** The whole API: contract, handlers and docs. Whoever embeds it provides the services. */
export const layer = (options: ChatHttp.ChatHttpOptions) => Layer.provide(layerOpen(options), Authentication.layer)

/** The whole API as `layer` has it, but whoever embeds it says who asks: `authentication` makes a layer that does. */
export const layerOpen = (options: ChatHttp.ChatHttpOptions) =>
  Layer.merge(
    HttpLayerRouter.addHttpApi(Api).pipe(
      Layer.provide([
        ChatHttp.layer(options),
        TurnsHttp.layer,
        ConversationsHttp.layer,
        TasksHttp.layer,
        OperatingHttp.layer
      ])
    ),
    Docs.layer
  ).pipe(Layer.provide(Exchange.middleware.layer))

const part = Base.make("taskchat")

const mount = <Id extends string, Groups extends HttpApiGroup.HttpApiGroup.Any, E, R>(
  api: HttpApi.HttpApi<Id, Groups, E, R>
) => Layer.provide(HttpLayerRouter.addHttpApi(api), Exchange.middleware.layer)

/** One group, to be mounted by itself; like the following ones it leaves open who asks. */
export const chat = (options: ChatHttp.ChatHttpOptions) =>
  Layer.provide(mount(part.add(ChatApi)), ChatHttp.layer(options))

export const turns = Layer.provide(mount(part.add(TurnsApi)), TurnsHttp.layer)

export const conversations = Layer.provide(mount(part.add(ConversationsApi)), ConversationsHttp.layer)

export const tasks = Layer.provide(mount(part.add(TasksApi)), TasksHttp.layer)

/** `/health`, `/ready` and `/metrics`, for everybody. */
export const operating = Layer.provide(mount(part.add(OperatingApi)), OperatingHttp.layer)

/** `/openapi.json` and `/docs`, for everybody. */
export const docs = Layer.provide(Docs.layer, Exchange.middleware.layer)

export { layerOf as authentication } from "./Authentication.ts"

/** Puts routes under a prefix, such as `/assistant`, of the app they are mounted into. */
export const under =
  (prefix: `/${string}`) =>
  <A, E, R>(routes: Layer.Layer<A, E, R>): Layer.Layer<A, E, R | HttpLayerRouter.HttpRouter> =>
    Layer.provide(
      routes,
      Layer.effect(
        HttpLayerRouter.HttpRouter,
        Effect.map(HttpLayerRouter.HttpRouter, (router) => router.prefixed(prefix))
      )
    )
