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
  /** Until the client goes. */
  readonly mcp: (
    settings: Config.Settings,
    token: Redacted.Redacted
  ) => Effect.Effect<unknown, unknown, NodeContext.NodeContext>
  /** And then makes the change. */
  readonly migrate: <A, E>(
    settings: Config.Settings,
    change: Effect.Effect<A, E, SqlClient.SqlClient | NodeContext.NodeContext>
  ) => Effect.Effect<A, unknown, NodeContext.NodeContext>
  /** Until all of the user's data is gone. */
  readonly erase: (settings: Config.Settings, user: UserId) => Effect.Effect<void, unknown, NodeContext.NodeContext>
  /** With the whole service listening. */
  readonly chat: <A, E>(
    settings: Config.Settings,
    talk: Effect.Effect<A, E, HttpServer.HttpServer | Tokens>
  ) => Effect.Effect<A, unknown, NodeContext.NodeContext>
  readonly tokens: (settings: Config.Settings) => Layer.Layer<Tokens, unknown, NodeContext.NodeContext>
}

/** Of the package. */
export const version = "0.1.0"

/** It was said why; the process has only to end with 1. */
class Told extends Data.TaggedError("Told")<{}> {}

/** `taskchat serve`, `taskchat chat`, `taskchat mcp`, `taskchat migrate`, `taskchat usage`, `taskchat erase` and `taskchat token`. */
export const run = ({ chat, erase, mcp, migrate, serve, tokens }: Commands) => {
  const withSettings = <A, E, R>(
    f: (settings: Config.Settings) => Effect.Effect<A, E, R>,
    logTo: Pick<Logging.LoggingOptions, "to"> = {}
  ) =>
    Effect.gen(function* () {
      const settings = yield* SecretFiles.provide(Config.settings)
      const asked = yield* FiberRef.get(FiberRef.currentMinimumLogLevel)
      const logging = { ...settings.logging, ...(asked !== notAsked && { level: asked }) }
      return yield* Effect.provide(f({ ...settings, logging }), Logging.layer({ ...logging, ...logTo }))
    })

  const commands = Command.make("taskchat").pipe(
    Command.withDescription(Help.description),
    Command.withSubcommands([
      Command.make("serve", {}, () => withSettings(serve)).pipe(
        Command.withDescription("Serves the API until it is told to stop (SIGTERM, SIGINT)")
      ),
      Command.make("chat", { url: chatUrl, user: chatUser }, ({ url, user }) =>
        Effect.filterOrFail(
          Option.match(url, {
            onSome: (baseUrl) =>
              Effect.flatMap(SecretFiles.provide(Config.token), (token) => ChatTerminal.talk(baseUrl, token)),
            onNone: () =>
              withSettings((settings) =>
                chat({ ...settings, server: ownServer(settings.server) }, ChatTerminal.talkHere(user)).pipe(
                  // The terminal is the conversation's.
                  Effect.provide(Logger.minimumLogLevel(LogLevel.None))
                )
              )
          }),
          (isWell) => isWell,
          () => new Told()
        )
      ).pipe(
        Command.withDescription(
          "Talks in this terminal, or answers what it reads from a pipe: by itself, or on a running service (--url)"
        )
      ),
      Command.make("mcp", { stdio }, () =>
        Effect.flatMap(SecretFiles.provide(Config.token), (token) =>
          // Standard output is the protocol's.
          withSettings((settings) => mcp(settings, token), { to: "stderr" })
        )
      ).pipe(
        Command.withDescription(
          "Serves MCP to the program that started it, for the user whom TASKCHAT_TOKEN names; over HTTP, serve does at /mcp"
        )
      ),
      Command.make("migrate", UserIdsChange.options, (change) =>
        withSettings((settings) =>
          Effect.flatMap(migrate(settings, UserIdsChange.of(change)), (report) =>
            Console.log(["The database is up to date.", ...report].join("\n"))
          )
        )
      ).pipe(Command.withDescription("Brings the database up to date; serve does so by itself")),
      Command.make("usage", UsageTable.options, (asked) =>
        withSettings((settings) =>
          Effect.flatMap(migrate(settings, UsageTable.of(asked)), (lines) => Console.log(lines.join("\n")))
        )
      ).pipe(
        Command.withDescription(
          "Prints what the turns of the last 30 days have cost: of each user, or of one user each day"
        )
      ),
      Command.make("erase", { user: erasedUser }, ({ user }) =>
        withSettings((settings) =>
          Effect.zipRight(erase(settings, user), Console.log(`Nothing of user ${user} is left in the database.`))
        )
      ).pipe(Command.withDescription("Erases all data of a user for good, while nodes run or not")),
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
    return wrong === undefined ? parse(process.argv) : Effect.zipRight(Console.error(wrong), new Told())
  }).pipe(
    Logger.withMinimumLogLevel(notAsked),
    (run) => Effect.flatMap(Effect.console, (console) => Effect.withConsole(run, Help.plain(console))),
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

/** As long as no `--log-level` was given: itself, and not another with the same content. */
const notAsked: LogLevel.LogLevel = { ...LogLevel.Info }

/** For itself alone, whatever else listens. */
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
  Options.withDescription("Of a running service, for the user whom TASKCHAT_TOKEN names; without it, none has to run")
)

const chatUser = Help.userNumber.pipe(
  Options.withDefault(UserId.make(1)),
  Options.withDescription("Who talks, without --url: a whole number from 1")
)

const erasedUser = Help.userNumber.pipe(
  Options.withDescription(
    "Whose data: a whole number from 1; with USER_IDS=mapped the one that the account was assigned"
  )
)

const stdio = Options.boolean("stdio").pipe(
  Options.withDescription("Over standard input and output; there is no other way"),
  Options.mapEffect((isGiven) =>
    isGiven ? Effect.succeed(isGiven) : Effect.fail(ValidationError.missingFlag(HelpDoc.p("mcp needs --stdio")))
  )
)

const user = Options.text("user").pipe(
  Options.withDescription("Whom the token names: a whole number from 1; with USER_IDS=mapped, any name of an account")
)

class WrongUser extends Data.TaggedError("WrongUser")<{ readonly should: string }> {
  override get message() {
    return `--user takes ${this.should}`
  }
}

const decodeUserId = Schema.decode(fromPath(UserId))

/** Whom `--user` names, as tokens do. */
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
  Options.withDescription('How long it is valid, such as "30 minutes"; a day, if nothing is said')
)

/** Why the service did not start, in one line wherever someone can do something about it. */
const explain = (error: unknown): string => {
  if (ConfigError.isConfigError(error)) return Config.explain(error)
  if (error instanceof HttpServerError.ServeError) return `HOST and PORT cannot be listened on: ${words(error.cause)}`
  if (error instanceof SqlError.SqlError) {
    const isUnknownIssuer = Predicate.hasProperty(error.cause, "code") && unknownIssuer.has(String(error.cause.code))
    const advice =
      "add sslrootcert=FILE with its authority's certificate, or write sslmode=require to encrypt without a check"
    return `DATABASE_URL cannot be used: ${words(error.cause)}${isUnknownIssuer ? `: ${advice}` : ""}`
  }
  if (error instanceof Migrator.MigrationError) return `The database cannot be brought up to date: ${error.message}`
  return words(error)
}

/** OpenSSL's names for a certificate that nobody known has signed. */
const unknownIssuer: ReadonlySet<string> = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
])

const words = (error: unknown): string => {
  if (!Predicate.isError(error)) return String(error)
  if ("errors" in error && Array.isArray(error.errors)) return error.errors.map(words).join("; ")
  return error.message
}
