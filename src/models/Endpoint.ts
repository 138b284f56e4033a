import type { AiError } from "@effect/ai"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Duration, Effect, Exit, Option, type Redacted, type Scope } from "effect"
import { factsOf } from "../domain/ModelFailure.ts"
import type { Lifetime } from "../domain/ProviderState.ts"
import { CurrentRequestLimit, RequestLimit } from "../domain/RequestLimit.ts"
import * as Pull from "../runtime/Pull.ts"
import type { Part } from "../runtime/StreamText.ts"
import { Alarms } from "../runtime/Timeouts.ts"
import * as Echo from "./Echo.ts"
import { type Client, Exchange, type Outcome, patience, type Taken } from "./Exchange.ts"
import * as Failures from "./Failures.ts"
import * as OptionalMembers from "./OptionalMembers.ts"
import type { Standing, Wire } from "./Wire.ts"

/** What every model behind an HTTP API is told. */
export interface Options {
  /** A server of one's own may want none. */
  readonly apiKey?: Redacted.Redacted | undefined
  /** With the version, as in `https://api.openai.com/v1`. */
  readonly apiUrl: string
  readonly model: string
  readonly temperature?: number | undefined
  readonly maxOutputTokens?: number | undefined
  /**
   * A request is given up after this much silence, before the headers or between two bytes; 15 seconds unless given.
   * It fails with an `HttpRequestError` whose cause is a `TimeoutException`.
   */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /** How long the provider wants back what it thought: by its host, unless given. */
  readonly echoes?: Lifetime | undefined
}

/** How one API is spoken to. */
export interface Api<State extends Standing> {
  /** Names the model in errors. */
  readonly module: string
  /** Appended to the URL of the options. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly wire: Wire<State>
  /** What a request may have and can do without. */
  readonly optional: ReadonlyArray<string>
}

/** An endpoint that answers a POST with server-sent events. */
export interface Endpoint {
  /** Whom what a provider wants back goes to (see `Echo`). */
  readonly origin: string
  /**
   * The parts of the answer to a request, which is JSON. What has come meanwhile is one chunk. An optional member that the
   * provider refuses by name is left out, at once and from then on, within the `CurrentRequestLimit`. The connection is
   * closed at once when the answer is left early; after a complete answer it is kept for the next request.
   */
  readonly ask: (write: (without: ReadonlySet<string>) => string) => Effect.Effect<Pull.Source<Part, AiError.AiError>>
}

export const make = <State extends Standing>(
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
        // How long is too long is decided here.
        headersTimeout: 0,
        bodyTimeout: 0
      },
      failures,
      origin,
      echoes: options.echoes ?? Echo.lifetimeAt(url),
      idle,
      silences: Number.isFinite(idle) ? yield* Alarms.make(idle) : undefined,
      ends: yield* Alarms.make(patience)
    }
    /** What this provider has refused before. */
    const refused = new Set<string>()

    const ask = (
      client: Client,
      write: (without: ReadonlySet<string>) => string,
      limit: RequestLimit
    ): Pull.Source<Part, AiError.AiError> => {
      const send = (without: ReadonlySet<string>): Exchange<State> => {
        const outcome: Outcome = {
          onBegin: () => {
            // Only now is it known that this was the reason.
            for (const member of without) refused.add(member)
          },
          onFailure: ({ body, error }, hasBegun) => {
            const status = error._tag === "HttpResponseError" ? error.response.status : 0
            if (hasBegun || (status !== 400 && status !== 422)) return Exit.fail(Option.some(error))
            const named = OptionalMembers.refusedIn(body, optional)
            // Refused for something else now. Who still names what is no longer there does not mean it.
            for (const member of without) if (!named.includes(member)) refused.add(member)
            const members = named.filter((member) => !without.has(member))
            const fewer = new Set([...without, ...members])
            // What was not sent cannot be the reason.
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

/** `undefined` for what is no address of a web service. */
const endpoint = (apiUrl: string, path: string): URL | undefined => {
  if (!URL.canParse(apiUrl)) return undefined
  const url = new URL(apiUrl)
  if (url.protocol !== "https:" && url.protocol !== "http:") return undefined
  url.pathname = url.pathname.replace(/\/*$/, path)
  return url
}
