import { type HttpApi, type HttpApiGroup, HttpLayerRouter, HttpServer } from "@effect/platform"
import { Effect, Layer } from "effect"
import { usual } from "../api/Api.ts"
import * as Base from "../api/Base.ts"
import { ChatApi } from "../api/ChatApi.ts"
import { ConversationsApi } from "../api/ConversationsApi.ts"
import { DataApi } from "../api/DataApi.ts"
import { ErasureApi } from "../api/ErasureApi.ts"
import { OperatingApi } from "../api/OperatingApi.ts"
import { TasksApi } from "../api/TasksApi.ts"
import { TurnsApi } from "../api/TurnsApi.ts"
import { UsersApi } from "../api/UsersApi.ts"
import * as HttpApiRoutes from "../runtime/HttpApiRoutes.ts"
import * as Authentication from "./Authentication.ts"
import * as ChatHttp from "./ChatHttp.ts"
import * as ConversationsHttp from "./ConversationsHttp.ts"
import * as DataHttp from "./DataHttp.ts"
import * as Docs from "./Docs.ts"
import * as ErasureHttp from "./ErasureHttp.ts"
import * as Exchange from "./Exchange.ts"
import * as Fallback from "./Fallback.ts"
import { Mount, register } from "./Mount.ts"
import * as OperatingHttp from "./OperatingHttp.ts"
import * as TasksHttp from "./TasksHttp.ts"
import * as TurnsHttp from "./TurnsHttp.ts"
import * as UsersHttp from "./UsersHttp.ts"

/**
 * The whole API with its documentation, for users with tokens. It requires the services. Under a prefix it also answers
 * unknown paths; at the root the app or `Fallback` does.
 */
export const layer = (options: ChatHttp.ChatHttpOptions) => Layer.provide(layerOpen(options), Authentication.layer)

/** As `layer`, for apps with their own authentication: `authentication` makes a layer for it. */
export const layerOpen = (options: ChatHttp.ChatHttpOptions) =>
  Layer.mergeAll(
    HttpApiRoutes.mount(usual).pipe(
      Layer.provide([
        ChatHttp.layer(options),
        TurnsHttp.layer,
        ConversationsHttp.layer,
        TasksHttp.layer,
        UsersHttp.layer,
        DataHttp.layer,
        OperatingHttp.layer
      ])
    ),
    register(...Object.keys(usual.groups)),
    Layer.fresh(Docs.layer),
    Layer.unwrapEffect(Effect.map(Mount, ({ prefix }) => (prefix === "" ? Layer.empty : Fallback.layerOpen)))
  ).pipe(Layer.provide(Exchange.middleware.layer))

const part = Base.make("taskchat")

const mount = <Id extends string, Groups extends HttpApiGroup.HttpApiGroup.Any, E, R>(
  api: HttpApi.HttpApi<Id, Groups, E, R>
) =>
  Layer.merge(Layer.provide(HttpApiRoutes.mount(api), Exchange.middleware.layer), register(...Object.keys(api.groups)))

/** A single group. Like the following ones it requires `authentication`. */
export const chat = (options: ChatHttp.ChatHttpOptions) =>
  Layer.provide(mount(part.add(ChatApi)), ChatHttp.layer(options))

// Fresh, since a layer is otherwise built once, and could be mounted in one place only.

export const turns = Layer.fresh(Layer.provide(mount(part.add(TurnsApi)), TurnsHttp.layer))

export const conversations = Layer.fresh(Layer.provide(mount(part.add(ConversationsApi)), ConversationsHttp.layer))

export const tasks = Layer.fresh(Layer.provide(mount(part.add(TasksApi)), TasksHttp.layer))

/** `/api/me`. */
export const users = Layer.fresh(Layer.provide(mount(part.add(UsersApi)), UsersHttp.layer))

/** `/api/{user_id}/export`. */
export const data = Layer.fresh(Layer.provide(mount(part.add(DataApi)), DataHttp.layer))

/** `DELETE /api/{user_id}/data`, which is not part of `layer`. */
export const erasure = Layer.fresh(Layer.provide(mount(part.add(ErasureApi)), ErasureHttp.layer))

/** `/health`, `/ready` and `/metrics`, without authentication. */
export const operating = Layer.fresh(Layer.provide(mount(part.add(OperatingApi)), OperatingHttp.layer))

/** `/openapi.json` and `/docs` of the groups that are mounted in the same place, without authentication. */
export const docs = Layer.fresh(Layer.provide(Docs.layer, Exchange.middleware.layer))

/**
 * Serves routes on a server that listens once the routes and their requirements are built. Each request writes one log
 * line, the routes' own.
 */
export const serve = <A, E, R, S, SE, SR>(
  routes: Layer.Layer<A, E, R>,
  server: Layer.Layer<HttpServer.HttpServer | S, SE, SR>
) =>
  Layer.unwrapScoped(
    Effect.map(HttpLayerRouter.toHttpEffect(routes), (app) => Layer.provideMerge(HttpServer.serve(app), server))
  )

export { layerOf as authentication } from "./Authentication.ts"

export { under } from "./Mount.ts"
