import { Command, HelpDoc, Options, ValidationError } from "@effect/cli"
import { type HttpServer, HttpServerError } from "@effect/platform"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Migrator, type SqlClient, SqlError } from "@effect/sql"
import {
  Cause,
  ConfigError,
  Console,
  Data,
  Duration,
  Effect,
  FiberRef,
  type Layer,
  Logger,
  LogLevel,
  Option,
  Predicate,
  type Redacted,
  Schema
} from "effect"
import * as Config from "../Config.ts"
import { fromPath, UserId } from "../domain/Id.ts"
import { isIdentityName } from "../domain/Identity.ts"
import { Tokens } from "../services/access/Tokens.ts"
import type * as UserIds from "../services/access/UserIds.ts"
import * as ChatTerminal from "./ChatTerminal.ts"
import * as Help from "./Help.ts"
import * as Logging from "./Logging.ts"
import * as SecretFiles from "./SecretFiles.ts"
import * as UsageTable from "./UsageTable.ts"
import * as UserIdsChange from "./UserIdsChange.ts"

export interface Commands {
  readonly serve: (settings: Config.Settings) => Effect.Effect<unknown, unknown, NodeContext.NodeContext>
  /** Runs until the client disconnects. */
  readonly mcp: (
    settings: Config.Settings,
    token: Redacted.Redacted
  ) => Effect.Effect<unknown, unknown, NodeContext.NodeContext>
  /** Migrates the database, then makes the change. */
  readonly migrate: <A, E>(
    settings: Config.Settings,
    change: Effect.Effect<A, E, SqlClient.SqlClient | NodeContext.NodeContext>
  ) => Effect.Effect<A, unknown, NodeContext.NodeContext>
  /** Completes when all of the user's data is erased. */
  readonly erase: (settings: Config.Settings, user: UserId) => Effect.Effect<void, unknown, NodeContext.NodeContext>
  /** Runs the conversation while the whole service listens. */
  readonly chat: <A, E>(
    settings: Config.Settings,
    conversation: Effect.Effect<A, E, HttpServer.HttpServer | Tokens>
  ) => Effect.Effect<A, unknown, NodeContext.NodeContext>
  readonly tokens: (settings: Config.Settings) => Layer.Layer<Tokens, unknown, NodeContext.NodeContext>
}

/** The version of the package. */
export const version = "0.1.0"

/** The error was already printed. The process only has to exit with 1. */
class Reported extends Data.TaggedError("Reported")<{}> {}

/**
 * `taskchat serve`, `taskchat chat`, `taskchat mcp`, `taskchat migrate`, `taskchat usage`, `taskchat erase` and
 * `taskchat token`.
 */
export const run = ({ chat, erase, mcp, migrate, serve, tokens }: Commands) => {
  const withSettings = <A, E, R>(
    f: (settings: Config.Settings) => Effect.Effect<A, E, R>,
    logTo: Pick<Logging.LoggingOptions, "to"> = {}
  ) =>
    Effect.gen(function* () {
      const settings = yield* SecretFiles.provide(Config.settings)
      const given = yield* FiberRef.get(FiberRef.currentMinimumLogLevel)
      const logging = { ...settings.logging, ...(given !== noLogLevel && { level: given }) }
      return yield* Effect.provide(f({ ...settings, logging }), Logging.layer({ ...logging, ...logTo }))
    })

  const commands = Command.make("taskchat").pipe(
    Command.withDescription(Help.description),
    Command.withSubcommands([
      Command.make("serve", {}, () => withSettings(serve)).pipe(
        Command.withDescription("Serves the API until a stop signal (SIGTERM, SIGINT)")
      ),
      Command.make("chat", { url: chatUrl, user: chatUser }, ({ url, user }) =>
        Effect.filterOrFail(
          Option.match(url, {
            onSome: (baseUrl) =>
              Effect.flatMap(SecretFiles.provide(Config.token), (token) => ChatTerminal.connect(baseUrl, token)),
            onNone: () =>
              withSettings((settings) =>
                chat({ ...settings, server: ownServer(settings.server) }, ChatTerminal.connectLocal(user)).pipe(
                  // A log would mix with the conversation in the terminal.
                  Effect.provide(Logger.minimumLogLevel(LogLevel.None))
                )
              )
          }),
          (isWell) => isWell,
          () => new Reported()
        )
      ).pipe(
        Command.withDescription(
          "Chats in this terminal, or answers each line of a pipe. It starts the service or uses a running one (--url)"
        )
      ),
      Command.make("mcp", { stdio }, () =>
        Effect.flatMap(SecretFiles.provide(Config.token), (token) =>
          // The protocol uses standard output.
          withSettings((settings) => mcp(settings, token), { to: "stderr" })
        )
      ).pipe(
        Command.withDescription(
          "Serves MCP over standard input and output for the user of TASKCHAT_TOKEN. Over HTTP, serve has it at /mcp"
        )
      ),
      Command.make("migrate", UserIdsChange.options, (change) =>
        withSettings((settings) =>
          Effect.flatMap(migrate(settings, UserIdsChange.of(change)), (report) =>
            Console.log(["The database is up to date.", ...report].join("\n"))
          )
        )
      ).pipe(Command.withDescription("Migrates the database. serve does so at its start")),
      Command.make("usage", UsageTable.options, (asked) =>
        withSettings((settings) =>
          Effect.flatMap(migrate(settings, UsageTable.of(asked)), (lines) => Console.log(lines.join("\n")))
        )
      ).pipe(Command.withDescription("Prints the tokens used in the last 30 days, per user, or per day for one user")),
      Command.make("erase", { user: erasedUser }, ({ user }) =>
        withSettings((settings) =>
          Effect.zipRight(erase(settings, user), Console.log(`Nothing of user ${user} is left in the database.`))
        )
      ).pipe(Command.withDescription("Erases all data of a user permanently. Nodes may be running")),
      Command.make("token", { ttl, user }, ({ ttl, user }) =>
        withSettings((settings) =>
          Effect.gen(function* () {
            const named = yield* namedBy(user, settings.auth.userIds)
            yield* Console.log(yield* (yield* Tokens).issue(named, ttl))
          }).pipe(Effect.provide(tokens(settings)))
        )
      ).pipe(Command.withDescription("Prints a token, signed with JWT_SECRET or the development secret"))
    ])
  )

  const parse = Command.run(commands, { name: "taskchat", version, footer: Help.footer })

  return Effect.suspend(() => {
    const wrong = Help.wrongLevel(process.argv)
    return wrong === undefined ? parse(process.argv) : Effect.zipRight(Console.error(wrong), new Reported())
  }).pipe(
    Logger.withMinimumLogLevel(noLogLevel),
    (run) => Effect.flatMap(Effect.console, (console) => Effect.withConsole(run, Help.plain(console))),
    Effect.catchAllCause((cause) => {
      if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
      const error = Cause.squash(cause)
      // The library has already printed the error in the arguments.
      if (ValidationError.isValidationError(error)) return new Reported()
      return Effect.zipRight(Console.error(explain(error)), new Reported())
    }),
    Effect.provide(NodeContext.layer)
  )
}

/** Means that `--log-level` was not given. Compared by identity. */
const noLogLevel: LogLevel.LogLevel = { ...LogLevel.Info }

/** Settings for a service that only this process uses, on a free port. */
const ownServer = (server: Config.Settings["server"]) => ({
  ...server,
  host: "127.0.0.1",
  port: 0,
  page: false,
  shutdownDelay: Option.some(Duration.zero)
})

const isAddress = (text: string) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)

const chatUrl = Help.option("url", "an address such as http://127.0.0.1:3000", Option.liftPredicate(isAddress)).pipe(
  Options.optional,
  Options.withDescription(
    "The URL of a running service. TASKCHAT_TOKEN gives the user. Without it, the command starts the service"
  )
)

const chatUser = Help.userNumber.pipe(
  Options.withDefault(UserId.make(1)),
  Options.withDescription("The user, without --url: a whole number from 1")
)

const erasedUser = Help.userNumber.pipe(
  Options.withDescription(
    "The user: a whole number from 1. With USER_IDS=mapped, the id that was assigned to the account"
  )
)

const stdio = Options.boolean("stdio").pipe(
  Options.withDescription("Required: the transport is standard input and output"),
  Options.mapEffect((isGiven) =>
    isGiven ? Effect.succeed(isGiven) : Effect.fail(ValidationError.missingFlag(HelpDoc.p("mcp needs --stdio")))
  )
)

const user = Options.text("user").pipe(
  Options.withDescription("The user of the token: a whole number from 1. With USER_IDS=mapped, any account name")
)

class WrongUser extends Data.TaggedError("WrongUser")<{ readonly should: string }> {
  override get message() {
    return `--user takes ${this.should}`
  }
}

const decodeUserId = Schema.decode(fromPath(UserId))

/** The user that `--user` names, in the form that tokens use. */
const namedBy = (user: string, mode: UserIds.Mode): Effect.Effect<UserId | string, WrongUser> => {
  if (mode === "token") {
    return Effect.mapError(decodeUserId(user), () => new WrongUser({ should: Help.aUserNumber }))
  }
  return isIdentityName(user)
    ? Effect.succeed(user)
    : new WrongUser({ should: "1 to 255 characters without control characters" })
}

const ttl = Help.option("ttl", 'a duration such as "30 minutes"', Duration.decodeUnknown).pipe(
  Options.withDefault(Duration.days(1)),
  Options.withDescription('How long the token is valid, such as "30 minutes". Default: a day')
)

/** Why the service did not start. An error that an operator can fix takes one line. */
const explain = (error: unknown): string => {
  if (ConfigError.isConfigError(error)) return Config.explain(error)
  if (error instanceof HttpServerError.ServeError) return `HOST and PORT cannot be used: ${messageOf(error.cause)}`
  if (error instanceof SqlError.SqlError) {
    const isUnknownIssuer = Predicate.hasProperty(error.cause, "code") && unknownIssuer.has(String(error.cause.code))
    const advice =
      "add sslrootcert=FILE with the certificate of its authority, or sslmode=require to encrypt without verification"
    return `DATABASE_URL cannot be used: ${messageOf(error.cause)}${isUnknownIssuer ? `: ${advice}` : ""}`
  }
  if (error instanceof Migrator.MigrationError) return `The database cannot be migrated: ${error.message}`
  return messageOf(error)
}

/** OpenSSL's error codes for a certificate from an unknown authority. */
const unknownIssuer: ReadonlySet<string> = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
])

const messageOf = (error: unknown): string => {
  if (!Predicate.isError(error)) return String(error)
  if ("errors" in error && Array.isArray(error.errors)) return error.errors.map(messageOf).join("; ")
  return error.message
}
