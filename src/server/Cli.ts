import { Command, HelpDoc, Options, ValidationError } from "@effect/cli"
import { HttpServerError } from "@effect/platform"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Migrator, SqlError } from "@effect/sql"
import {
  Cause,
  ConfigError,
  Console,
  Data,
  Duration,
  Effect,
  type Layer,
  Option,
  Predicate,
  type Redacted
} from "effect"
import * as Config from "../Config.ts"
import { fromPath, UserId } from "../domain/Id.ts"
import { Tokens } from "../services/access/Tokens.ts"
import * as Logging from "./Logging.ts"

export interface Commands {
  readonly serve: (settings: Config.Settings) => Effect.Effect<unknown, unknown, NodeContext.NodeContext>
  /** Until the client goes. */
  readonly mcp: (
    settings: Config.Settings,
    token: Redacted.Redacted
  ) => Effect.Effect<unknown, unknown, NodeContext.NodeContext>
  readonly migrate: (settings: Config.Settings) => Effect.Effect<unknown, unknown, NodeContext.NodeContext>
  readonly tokens: (settings: Config.Settings) => Layer.Layer<Tokens, unknown, NodeContext.NodeContext>
}

/** It was said why; the process has only to end with 1. */
class Told extends Data.TaggedError("Told")<{}> {}

/** `taskchat serve`, `taskchat mcp`, `taskchat migrate` and `taskchat token`. */
export const run = ({ mcp, migrate, serve, tokens }: Commands) => {
  const withSettings = <A, E, R>(
    f: (settings: Config.Settings) => Effect.Effect<A, E, R>,
    logTo: Pick<Logging.LoggingOptions, "to"> = {}
  ) =>
    Effect.flatMap(Config.settings, (settings) =>
      Effect.provide(f(settings), Logging.layer({ ...settings.logging, ...logTo }))
    )

  const commands = Command.make("taskchat").pipe(
    Command.withSubcommands([
      Command.make("serve", {}, () => withSettings(serve)).pipe(
        Command.withDescription("Serves the API until it is told to stop (SIGTERM, SIGINT)")
      ),
      Command.make("mcp", { stdio }, () =>
        Effect.flatMap(Config.token, (token) =>
          // Standard output is the protocol's.
          withSettings((settings) => mcp(settings, token), { to: "stderr" })
        )
      ).pipe(
        Command.withDescription(
          "Serves MCP to the program that started it, for the user whom TASKCHAT_TOKEN names; over HTTP, serve does at /mcp"
        )
      ),
      Command.make("migrate", {}, () =>
        withSettings((settings) => Effect.zipRight(migrate(settings), Console.log("The database is up to date.")))
      ).pipe(Command.withDescription("Brings the database up to date; serve does so by itself")),
      Command.make("token", { ttl, user }, ({ ttl, user }) =>
        withSettings((settings) =>
          Effect.flatMap(Tokens, (tokens) => Effect.flatMap(tokens.issue(user, ttl), Console.log)).pipe(
            Effect.provide(tokens(settings))
          )
        )
      ).pipe(Command.withDescription("Prints a token, signed with JWT_SECRET or the development secret"))
    ])
  )

  return Effect.suspend(() => Command.run(commands, { name: "taskchat", version: "0.1.0" })(process.argv)).pipe(
    Effect.catchAllCause((cause) => {
      if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
      const error = Cause.squash(cause)
      // The library has shown what is wrong with the arguments.
      if (ValidationError.isValidationError(error)) return new Told()
      return Effect.zipRight(Console.error(explain(error)), new Told())
    }),
    Effect.provide(NodeContext.layer)
  )
}

const stdio = Options.boolean("stdio").pipe(
  Options.withDescription("Over standard input and output; there is no other way"),
  Options.mapEffect((isGiven) =>
    isGiven ? Effect.succeed(isGiven) : Effect.fail(ValidationError.missingFlag(HelpDoc.p("mcp needs --stdio")))
  )
)

const user = Options.text("user").pipe(
  Options.withSchema(fromPath(UserId)),
  Options.withDescription("Whom the token names: a whole number from 1")
)

const ttl = Options.text("ttl").pipe(
  Options.withDefault("1 day"),
  Options.mapEffect((text) =>
    Option.match(Duration.decodeUnknown(text), {
      onNone: () => Effect.fail(ValidationError.invalidValue(HelpDoc.p('--ttl takes a duration such as "30 minutes"'))),
      onSome: Effect.succeed
    })
  ),
  Options.withDescription('How long it is valid, such as "30 minutes"')
)

/** Why the service did not start, in one line wherever someone can do something about it. */
const explain = (error: unknown): string => {
  if (ConfigError.isConfigError(error)) return Config.explain(error)
  if (error instanceof HttpServerError.ServeError) return `HOST and PORT cannot be listened on: ${words(error.cause)}`
  if (error instanceof SqlError.SqlError) return `DATABASE_URL leads to no database: ${words(error.cause)}`
  if (error instanceof Migrator.MigrationError) return `The database cannot be brought up to date: ${error.message}`
  return words(error)
}

const words = (error: unknown): string => {
  if (!Predicate.isError(error)) return String(error)
  if ("errors" in error && Array.isArray(error.errors)) return error.errors.map(words).join("; ")
  return error.message
}
