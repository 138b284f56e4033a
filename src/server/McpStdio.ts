import type { Readable, Writable } from "node:stream"
import { StdioServerTransport, serveStdio } from "@modelcontextprotocol/server/stdio"
import { Data, Effect, type Redacted, Schema } from "effect"
import { RateLimited, TimeZone } from "../domain/Request.ts"
import * as McpServer from "../http/mcp/McpServer.ts"
import { RateLimits } from "../services/access/RateLimits.ts"
import { Tokens } from "../services/access/Tokens.ts"

class TokenRefused extends Data.TaggedError("TokenRefused")<{ readonly reason: string }> {
  override get message() {
    return `TASKCHAT_TOKEN is not accepted: ${this.reason} It may have expired, or come from another issuer or DATA_DIR.`
  }
}

/** Instead of the lock's own words, as it is another program that starts this one, perhaps twice. */
export class InUse extends Data.TaggedError("InUse")<{ readonly why: string }> {
  override get message() {
    return `${this.why}. Where \`taskchat serve\` runs on it, give your MCP client the address of that, with /mcp; or set DATABASE_URL: a PostgreSQL serves many.`
  }
}

interface Streams {
  readonly stdin: Readable
  readonly stdout: Writable
}

/**
 * Serves the tasks of the user whom `token` names over standard input and output, until the client closes one of them.
 * Each request is as one over HTTP: the token still has to be valid, it is counted and recorded. Words for dates are read
 * in the zone of this machine, which is the user's own.
 */
export const serve = (token: Redacted.Redacted, { stdin, stdout }: Streams = process) =>
  Effect.gen(function* () {
    const tokens = yield* Tokens
    const limits = yield* RateLimits
    const serverFor = yield* McpServer.make
    const runtime = yield* Effect.runtime<never>()

    const admit = Effect.gen(function* () {
      const { id: user } = yield* tokens.verify(token)
      const { allowed, resetSeconds } = yield* limits.take("api", user)
      if (!allowed) return yield* new RateLimited({ retryAfter: resetSeconds })
      return { user, timeZone, requestId: crypto.randomUUID() }
    })

    yield* Effect.mapError(tokens.verify(token), ({ message }) => new TokenRefused({ reason: message }))
    yield* Effect.async<void>((resume) => {
      const transport = new ClosingTransport(stdin, stdout)
      transport.onClosed = () => resume(Effect.void)
      const { close } = serveStdio(() => serverFor(admit, runtime), { transport })
      return Effect.promise(close)
    })
  })

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
