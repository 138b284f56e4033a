import type { AiError } from "@effect/ai"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Duration, Effect, Exit, Option, type Redacted, type Scope } from "effect"
import { factsOf } from "../domain/ModelFailure.ts"
import type { Lifetime } from "../domain/ProviderState.ts"
import { CurrentRequestLimit, RequestLimit } from "../domain/RequestLimit.ts"
import * as Pull from "../runtime/Pull.ts"
import type { Part } from "../runtime/StreamText.ts"
import { Timeouts } from "../runtime/Timeouts.ts"
import * as Echo from "./Echo.ts"
import { type Client, Exchange, endTimeout, type Outcome, type Taken } from "./Exchange.ts"
import * as Failures from "./Failures.ts"
import * as OptionalMembers from "./OptionalMembers.ts"
import type { Wire, WireState } from "./Wire.ts"

/** The options of every model behind an HTTP API. */
export interface Options {
  /** Optional, because a local server may need no key. */
  readonly apiKey?: Redacted.Redacted | undefined
  /** Includes the version, as in `https://api.openai.com/v1`. */
  readonly apiUrl: string
  readonly model: string
  readonly temperature?: number | undefined
  readonly maxOutputTokens?: number | undefined
  /**
   * A request fails after this much silence, before the headers or between two bytes. Default: 15 seconds. It fails
   * with an `HttpRequestError` whose cause is a `TimeoutException`.
   */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /** How long the provider expects its reasoning back. Default: depends on its host. */
  readonly echoes?: Lifetime | undefined
}

/** The protocol of one API. */
export interface Api<State extends WireState> {
  /** Names the model in errors. */
  readonly module: string
  /** Appended to the URL of the options. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly wire: Wire<State>
  /** Members that a request can leave out. */
  readonly optional: ReadonlyArray<string>
}

/** An endpoint that answers a POST with server-sent events. */
export interface Endpoint {
  /** Identifies the provider and model for `Echo`. */
  readonly origin: string
  /**
   * The parts of the answer to a JSON request. Parts that arrived since the last pull are one chunk. If the provider
   * refuses an optional member by name, the request is sent again without it, within the `CurrentRequestLimit`, and so
   * are later requests. Closing the source early closes the connection. After a complete answer the connection is kept
   * alive.
   */
  readonly ask: (write: (without: ReadonlySet<string>) => string) => Effect.Effect<Pull.Source<Part, AiError.AiError>>
}

export const make = <State extends WireState>(
  { headers, module, optional, path, wire }: Api<State>,
  options: Options
): Effect.Effect<Endpoint, never, NodeHttpClient.Dispatcher | Scope.Scope> =>
  Effect.gen(function* () {
    const dispatcher = yield* NodeHttpClient.Dispatcher
    const idle = Duration.toMillis(options.idleTimeout ?? "15 seconds")
    const url = endpoint(options.apiUrl, path)
    const failures = Failures.make(module, url)
    const origin = url === undefined ? "" : `${url.origin}${url.pathname} ${options.model}`
    const client: Client | undefined = url && {
      dispatcher,
      target: {
        method: "POST",
        origin: url.origin,
        path: url.pathname + url.search,
        headers: { "content-type": "application/json", accept: "text/event-stream", ...headers },
        // Undici's timeouts are off, because this module has its own.
        headersTimeout: 0,
        bodyTimeout: 0
      },
      failures,
      origin,
      echoes: options.echoes ?? Echo.lifetimeAt(url),
      idle,
      idleTimeouts: Number.isFinite(idle) ? yield* Timeouts.make(idle) : undefined,
      endTimeouts: yield* Timeouts.make(endTimeout)
    }
    /** Members that this provider has refused. */
    const refused = new Set<string>()

    const ask = (
      client: Client,
      write: (without: ReadonlySet<string>) => string,
      limit: RequestLimit
    ): Pull.Source<Part, AiError.AiError> => {
      const send = (without: ReadonlySet<string>): Exchange<State> => {
        const outcome: Outcome = {
          onBegin: () => {
            // The request succeeded without these members, so they were the reason.
            for (const member of without) refused.add(member)
          },
          onFailure: ({ body, error }, hasBegun) => {
            const status = error._tag === "HttpResponseError" ? error.response.status : 0
            if (hasBegun || (status !== 400 && status !== 422)) return Exit.fail(Option.some(error))
            const named = OptionalMembers.refusedIn(body, optional)
            // An error that still names a member that was left out has another reason.
            for (const member of without) if (!named.includes(member)) refused.add(member)
            const members = named.filter((member) => !without.has(member))
            const fewer = new Set([...without, ...members])
            // Send again only if this changes the request.
            const isOther = members.length > 0 && write(fewer) !== write(without)
            return isOther && limit.take() ? again(error, fewer) : Exit.fail(Option.some(error))
          }
        }
        return new Exchange(client, write(without), wire, outcome)
      }
      const again = (error: AiError.AiError, without: ReadonlySet<string>): Taken =>
        Effect.zipRight(
          Effect.suspend(() => {
            const { close } = exchange
            exchange = send(without)
            return close()
          }),
          Effect.zipRight(
            Effect.logWarning("The model's service refused a member of the request").pipe(
              Effect.annotateLogs({
                ...factsOf(error),
                model_members: Array.from(without).join(","),
                model_try: limit.sent - 1
              })
            ),
            Effect.suspend(() => exchange.pull)
          )
        )
      let exchange = send(new Set(refused))
      return { pull: Effect.suspend(() => exchange.pull), close: () => exchange.close() }
    }
    return {
      origin,
      ask: (write) =>
        Effect.map(CurrentRequestLimit, (given) =>
          client === undefined
            ? Pull.fail(failures.invalidUrl.error)
            : ask(client, write, Option.getOrElse(given, newLimit))
        )
    }
  })

const newLimit = () => {
  const limit = new RequestLimit()
  limit.take()
  return limit
}

/** `undefined` if the URL is not http(s). */
const endpoint = (apiUrl: string, path: string): URL | undefined => {
  if (!URL.canParse(apiUrl)) return undefined
  const url = new URL(apiUrl)
  if (url.protocol !== "https:" && url.protocol !== "http:") return undefined
  url.pathname = url.pathname.replace(/\/*$/, path)
  return url
}
