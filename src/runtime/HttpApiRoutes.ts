import {
  type HttpApi,
  HttpApiBuilder,
  type HttpApiEndpoint,
  HttpApiError,
  type HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSchema,
  HttpLayerRouter,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { Context, Effect, Either, Layer, Option, Schema } from "effect"
import * as Codec from "./Codec.ts"
import * as FiberState from "./FiberState.ts"
import * as JsonBody from "./JsonBody.ts"

/**
 * Runs the endpoints of an `HttpApi`. Stands for `HttpApiBuilder.group` and `HttpLayerRouter.addHttpApi`, and has their
 * types. It passes failures on for `http/Exchange.ts` to answer, and limits bodies. It does not support optional
 * middleware, bodies other than JSON and repeated parameters.
 * Saves: `npm run bench -- --only json,get --servers taskchat,stock-HttpApiRoutes`.
 * Delete when: that row shows less than 5 %, and `HttpApiBuilder` leaves failures and the reading of bodies to middleware.
 */

type Endpoint = HttpApiEndpoint.HttpApiEndpoint.AnyWithProps
type Handler = (call: object) => Effect.Effect<unknown, unknown>
type Response = HttpServerResponse.HttpServerResponse
type Routes = ReadonlyArray<HttpLayerRouter.Route<unknown>>

interface Item {
  readonly endpoint: Endpoint
  readonly handler: Handler
  /** Whether the handler reads the body itself. */
  readonly isRaw: boolean
  readonly uninterruptible: boolean
}

class Handlers {
  private readonly endpoints: Readonly<Record<string, Endpoint>>
  readonly items: ReadonlyArray<Item>

  constructor(endpoints: Readonly<Record<string, Endpoint>>, items: ReadonlyArray<Item> = []) {
    this.endpoints = endpoints
    this.items = items
  }

  handle(name: string, handler: Handler, options?: { readonly uninterruptible?: boolean }) {
    return this.add(name, handler, false, options)
  }

  handleRaw(name: string, handler: Handler, options?: { readonly uninterruptible?: boolean }) {
    return this.add(name, handler, true, options)
  }

  private add(name: string, handler: Handler, isRaw: boolean, { uninterruptible = false } = {}) {
    const endpoint = this.endpoints[name]
    return endpoint === undefined
      ? this
      : new Handlers(this.endpoints, [...this.items, { endpoint, handler, isRaw, uninterruptible }])
  }
}

/** The routes of a group, under the library's name for them. */
const routesOf = (api: string, group: string) =>
  Context.GenericTag<HttpApiGroup.ApiGroup<string, string>, Routes>(`taskchat/runtime/HttpApiRoutes/${api}/${group}`)

const groupOf = (
  api: HttpApi.HttpApi.AnyWithProps,
  name: string,
  build: (handlers: Handlers) => Handlers | Effect.Effect<Handlers>
) =>
  Layer.effect(
    routesOf(api.identifier, name),
    Effect.gen(function* () {
      const context = yield* Effect.context<never>()
      // Safe: the type of `group` allows only names of the API's groups.
      const { endpoints, middlewares } = api.groups[name] as HttpApiGroup.HttpApiGroup.AnyWithProps
      const built = build(new Handlers(endpoints))
      const { items } = Effect.isEffect(built) ? yield* built : built
      return items.map((item) => routeOf(item, [...middlewares, ...item.endpoint.middlewares], context))
    })
  )

/** As `HttpApiBuilder.group`. */
// The library's type checks handlers, their contexts and their errors; the implementation need not know them.
export const group = groupOf as unknown as typeof HttpApiBuilder.group

/** Adds the routes of an API's groups to the app's router, as `HttpLayerRouter.addHttpApi` does. */
export const mount = <Id extends string, Groups extends HttpApiGroup.HttpApiGroup.Any, E, R>(
  api: HttpApi.HttpApi<Id, Groups, E, R>
): Layer.Layer<never, never, HttpLayerRouter.HttpRouter | R | HttpApiGroup.HttpApiGroup.ToService<Id, Groups>> =>
  HttpLayerRouter.use(
    (router) =>
      Effect.forEach(Object.keys(api.groups), (name) => Effect.flatMap(routesOf(api.identifier, name), router.addAll), {
        discard: true
      })
    // The type has one tag per group.
  ) as Layer.Layer<never, never, HttpLayerRouter.HttpRouter | R | HttpApiGroup.HttpApiGroup.ToService<Id, Groups>>

type Step = Effect.Effect<Response, unknown, HttpLayerRouter.Provided>

const routeOf = (
  { endpoint, handler, isRaw, uninterruptible }: Item,
  middlewares: ReadonlyArray<HttpApiMiddleware.TagClassAny>,
  context: Context.Context<never>
) => {
  const called = call(endpoint, handler, isRaw)
  // The last one is the outermost.
  const steps = middlewares.reduce<Step>((next, tag) => before(tag, context, next), called)
  return HttpLayerRouter.route(
    endpoint.method as Exclude<typeof endpoint.method, "HEAD">,
    endpoint.path,
    // A middleware's service is provided together with the rest, since every new context is a copy.
    middlewares.some(({ provides }) => provides !== undefined) ? steps : provided(context, Context.empty())(steps),
    { uninterruptible }
  )
}

/** Adds the group's services and others to the request's. */
const provided = (context: Context.Context<never>, more: Context.Context<never>) =>
  FiberState.mapInputContext(
    (request: Context.Context<HttpLayerRouter.Provided>): Context.Context<HttpLayerRouter.Provided> =>
      Context.mergeAll(context, request, more)
  )

const before = (tag: HttpApiMiddleware.TagClassAny, context: Context.Context<never>, next: Step): Step => {
  if (tag.optional) throw new Error(`${tag.key} is optional, which is not offered`)
  const effect = middlewareOf(tag, context)
  const { provides } = tag
  // Only the handlers' types know what it provides.
  return provides === undefined
    ? Effect.zipRight(effect, next)
    : Effect.flatMap(effect, (service) => provided(context, Context.make(provides, service))(next))
}

type Middleware = Effect.Effect<unknown, unknown>

// The type of any middleware's tag only says whether its service has schemes.
const middlewareOf = (tag: HttpApiMiddleware.TagClassAny, context: Context.Context<never>) => {
  const service: unknown = Context.unsafeGet(context, tag)
  if (!HttpApiMiddleware.isSecurity(tag)) return service as Middleware
  const handlers = service as Readonly<Record<string, (credentials: unknown) => Middleware>>
  const [first, ...others] = Object.entries(tag.security).flatMap(([name, scheme]) => {
    const handler = handlers[name]
    // Reading credentials needs only what every request has.
    return handler === undefined ? [] : [Effect.flatMap(HttpApiBuilder.securityDecode(scheme), handler) as Middleware]
  })
  return others.reduce((one, other) => Effect.catchAll(one, () => other), first ?? Effect.void)
}

/** Handler arguments under construction. */
type Call = Record<string, unknown>

const call = (endpoint: Endpoint, handler: Handler, isRaw: boolean): Step => {
  const path = member("path", endpoint.pathSchema)
  const payload = isRaw ? undefined : member("payload", endpoint.payloadSchema)
  const headers = member("headers", endpoint.headersSchema)
  const urlParams = member("urlParams", endpoint.urlParamsSchema)
  const encode = encoder(endpoint.successSchema)
  const answer = (value: unknown) => (HttpServerResponse.isServerResponse(value) ? value : encode(value))

  return Effect.contextWithEffect((context: Context.Context<HttpLayerRouter.Provided>) => {
    const request = Context.get(context, HttpServerRequest.HttpServerRequest)
    const call: Call = { request }
    const rest = () => {
      const wrong =
        headers?.(call, request.headers) ??
        urlParams?.(call, Context.get(context, HttpServerRequest.ParsedSearchParams))
      return wrong ?? Effect.map(handler(call), answer)
    }
    const wrong = path?.(call, Context.get(context, HttpLayerRouter.RouteContext).params)
    if (wrong !== undefined) return wrong
    return payload === undefined
      ? rest()
      : Effect.flatMap(
          JsonBody.json(request),
          (body): Effect.Effect<Response, unknown> => payload(call, body) ?? rest()
        )
  })
}

/** Decodes a member into a call, or fails. */
type Decode = (call: Call, input: unknown) => Effect.Effect<never, HttpApiError.HttpApiDecodeError> | undefined

const member = (name: string, schema: Option.Option<Schema.Schema.All>): Decode | undefined => {
  if (Option.isNone(schema)) return undefined
  const decode = Codec.decodeUnknown(Schema.make<unknown>(schema.value.ast))
  return (call, input) => {
    const decoded = decode(input)
    if (Either.isLeft(decoded)) return HttpApiError.HttpApiDecodeError.refailParseError(decoded.left)
    call[name] = decoded.right
    return undefined
  }
}

const encoder = ({ ast }: Schema.Schema.All): ((value: unknown) => Response) => {
  const schema = Schema.make<unknown>(ast)
  const status = HttpApiSchema.getStatusSuccess(schema)
  if (HttpApiSchema.isVoid(ast)) {
    const empty = HttpServerResponse.empty({ status })
    return () => empty
  }
  const { contentType, kind } = HttpApiSchema.getEncoding(ast)
  if (kind === "Json") {
    const encode = Codec.encodeJson(schema)
    return (value) => answer(encode(value), { status, contentType })
  }
  const encode = Codec.encode(schema)
  return (value) => answer(String(encode(value)), { status, contentType })
}

/** Text is written together with the headers; bytes, for long answers, are written separately. */
const answer = (
  body: string | Uint8Array,
  options: { readonly status: number; readonly contentType: string | undefined }
) =>
  typeof body === "string"
    ? HttpServerResponse.raw(body, { ...options, contentLength: Buffer.byteLength(body) })
    : HttpServerResponse.uint8Array(body, options)
