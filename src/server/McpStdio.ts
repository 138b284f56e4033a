import type { Readable, Writable } from "node:stream"
import { StdioServerTransport, serveStdio } from "@modelcontextprotocol/server/stdio"
import { Context, Data, Deferred, Effect, Layer, type Redacted, Schema } from "effect"
import { RateLimited, TimeZone } from "../domain/Request.ts"
import * as McpServer from "../http/mcp/McpServer.ts"
import { RateLimits } from "../services/access/RateLimits.ts"
import { Tokens } from "../services/access/Tokens.ts"
import { Erasing } from "../services/data/Erasing.ts"
import * as TaskTools from "../services/tasks/TaskTools.ts"

class TokenRefused extends Data.TaggedError("TokenRefused")<{ readonly reason: string }> {
  override get message() {
    return `TASKCHAT_TOKEN is not accepted: ${this.reason} It may have expired, or come from another issuer or DATA_DIR.`
  }
}

interface Streams {
  readonly stdin: Readable
  readonly stdout: Writable
}

type Needs = Layer.Layer.Success<typeof TaskTools.layer> | Tokens | RateLimits

/**
 * Serves the tasks of the user of `token` over standard input and output, until the client closes one of them. A
 * request is handled as over HTTP: the token must still be valid, and the request is counted and recorded. Dates are
 * read in the time zone of this machine, which is the user's. `initialize` is answered at once. Later requests wait
 * until `services` are built, because opening a database may take longer than a client waits for the first answer.
 */
export const serve = <E, R>(
  token: Redacted.Redacted,
  services: Layer.Layer<Needs, E, R>,
  { stdin, stdout }: Streams = process
) =>
  Effect.gen(function* () {
    const opened = yield* Deferred.make<Context.Context<Needs>>()
    const closed = yield* Deferred.make<void>()
    const runtime = yield* Effect.runtime<never>()
    const whenOpen = <A, E>(effect: Effect.Effect<A, E, Needs>) =>
      Effect.flatMap(Deferred.await(opened), (services) => Effect.provide(effect, services))

    const admit = Effect.gen(function* () {
      const { id: user } = yield* (yield* Tokens).verify(token)
      const { allowed, resetSeconds } = yield* (yield* RateLimits).take("api", user)
      if (!allowed) return yield* new RateLimited({ retryAfter: resetSeconds })
      yield* (yield* Erasing).refuse(user)
      return { user, timeZone, requestId: crypto.randomUUID() }
    })

    const serverFor = yield* McpServer.make(whenOpen(TaskTools.TaskTools))
    // The services are released after the server, because its last requests need them.
    const outer = yield* Effect.scope
    yield* Effect.scoped(
      Effect.gen(function* () {
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            const transport = new ClosingTransport(stdin, stdout)
            transport.onClosed = () => Deferred.unsafeDone(closed, Effect.void)
            return serveStdio(() => serverFor(whenOpen(admit), runtime), { transport })
          }),
          ({ close }) => Effect.promise(close)
        )
        const context = yield* Layer.buildWithScope(services, outer)
        yield* Effect.mapError(
          Context.get(context, Tokens).verify(token),
          ({ message }) => new TokenRefused({ reason: message })
        )
        yield* Deferred.succeed(opened, context)
        yield* Deferred.await(closed)
      })
    )
  }).pipe(Effect.scoped)

/** Calls `onClosed` when either side closes the transport. */
class ClosingTransport extends StdioServerTransport {
  onClosed = () => {}
  override async close() {
    await super.close()
    this.onClosed()
  }
}

const isTimeZone = Schema.is(TimeZone)
const local = Intl.DateTimeFormat().resolvedOptions().timeZone
const timeZone = isTimeZone(local) ? local : "UTC"
