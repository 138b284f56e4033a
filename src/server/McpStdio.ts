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
 * Serves the tasks of the user whom `token` names over standard input and output, until the client closes one of them.
 * Each request is as one over HTTP: the token still has to be valid, it is counted and recorded. Words for dates are read
 * in the zone of this machine, which is the user's own. The client is greeted at once; what it asks for next waits until
 * `services` are there, as opening a database may take longer than clients wait for a greeting.
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
    // Outlives the server, whose last requests need it.
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

/** Says when it is over, whichever side has closed it. */
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
