import { HttpLayerRouter, HttpServerRequest } from "@effect/platform"
import { Context, Effect, Layer } from "effect"
import { isLoopback } from "../domain/Loopback.ts"
import { RequestId } from "../domain/Problem.ts"
import { NotFound } from "../domain/Request.ts"
import { respond } from "./Problems.ts"

/**
 * The `Host` headers for which pages are served: all, unless `layer` is used. A page opened under another site's name has
 * that site's origin (DNS rebinding).
 */
export class Hosts extends Context.Reference<Hosts>()("taskchat/http/Hosts", {
  defaultValue: () => ({ includes: (_host: string | undefined): boolean => true })
}) {}

export interface HostsOptions {
  /** The interface that the service listens on. */
  readonly host: string
  /** Where clients find the service, if that is set. */
  readonly publicUrl: URL | undefined
}

const nameOf = (host: string) => host.replace(/:\d*$/, "")

/** The host of `publicUrl` and, on a loopback interface, the machine's own names. */
export const layer = ({ host, publicUrl }: HostsOptions) =>
  isLoopback(host) || publicUrl !== undefined
    ? Layer.succeed(Hosts, {
        includes: (given) =>
          given !== undefined &&
          (given.toLowerCase() === publicUrl?.host || (isLoopback(host) && isLoopback(nameOf(given))))
      })
    : Layer.empty

/** Answers 404 under any other name. */
export const guard = HttpLayerRouter.middleware(
  Effect.map(
    Hosts,
    (hosts) => (handler) =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
        hosts.includes(headers["host"]) ? handler : Effect.map(RequestId, (id) => respond(new NotFound(), id))
      )
  )
)
