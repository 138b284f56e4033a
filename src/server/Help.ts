import { HelpDoc, Options, Span, ValidationError } from "@effect/cli"
import { Array as Arr, type Console, Effect, LogLevel, Option, Schema } from "effect"
import { fromPath, UserId } from "../domain/Id.ts"

export const description =
  "A conversational task service: people say what they want, and an AI agent answers and works on their task list. Everything " +
  "is stored in PostgreSQL. It serves a chat page, REST, SSE and MCP. Without settings it serves this machine only, with an " +
  "embedded database and an offline stand-in for the model."

const variables: Arr.NonEmptyReadonlyArray<readonly [about: string, names: string]> = [
  ["network", "HOST, PORT, PUBLIC_URL, CORS_ORIGINS, PAGE"],
  ["database", "DATABASE_URL, DATABASE_POOL_SIZE, DATA_DIR"],
  [
    "users",
    "JWT_SECRET, JWT_JWKS_URL, JWT_ALGORITHMS, JWT_ISSUER, JWT_AUDIENCE, JWT_USER_CLAIM, USER_IDS, TASKCHAT_TOKEN"
  ],
  [
    "model",
    "MODEL_PROVIDER, MODEL_FALLBACK, OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_MODEL, ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL, " +
      "ANTHROPIC_MODEL, MODEL_TEMPERATURE, MODEL_MAX_OUTPUT_TOKENS, MODEL_IDLE_TIMEOUT"
  ],
  ["agent", "AGENT_TIMEOUT, AGENT_MAX_STEPS, HISTORY_LIMIT, HISTORY_MAX_TOKENS, MESSAGE_MAX_LENGTH, CONFIRM"],
  [
    "limits",
    "RATE_LIMIT_CHAT, RATE_LIMIT_API, REDIS_URL, MAX_RUNNING_TURNS, MAX_RUNNING_TURNS_PER_USER, TOKENS_PER_USER_PER_DAY"
  ],
  ["retention", "RETENTION, DELETED_RETENTION, ERASE_ENDPOINT"],
  [
    "logs, metrics and traces",
    "LOG_LEVEL, LOG_FORMAT, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES"
  ],
  ["shutdown", "SHUTDOWN_DELAY, SHUTDOWN_GRACE"]
]

export const footer = HelpDoc.blocks([
  HelpDoc.h1("ENVIRONMENT"),
  HelpDoc.descriptionList(Arr.map(variables, ([about, names]) => [Span.text(about), HelpDoc.p(names)])),
  HelpDoc.p("A secret may be in a file: set JWT_SECRET_FILE instead of JWT_SECRET. README.md explains each variable."),
  HelpDoc.h1("EXAMPLE"),
  HelpDoc.p("DATABASE_URL=postgres://localhost/tasks OPENAI_API_KEY=sk-... taskchat serve"),
  HelpDoc.p("echo 'add milk' | taskchat chat")
])

/** An option whose value is read by `parse`, which returns none for an invalid value. */
export const option = <A>(
  name: string,
  should: string,
  parse: (text: string) => Option.Option<A>
): Options.Options<A> =>
  Options.mapEffect(Options.text(name), (text) =>
    Option.match(parse(text), {
      onNone: () => Effect.fail(ValidationError.invalidValue(HelpDoc.p(`--${name} takes ${should}`))),
      onSome: Effect.succeed
    })
  )

export const aUserNumber = "a whole number from 1 to 9007199254740991"

/** `--user` with a user id. */
export const userNumber = option("user", aUserNumber, Schema.decodeOption(fromPath(UserId)))

const levels = ["all", ...LogLevel.allLevels.map(({ _tag }) => _tag.toLowerCase())].filter(
  (name, i, all) => all.indexOf(name) === i
)

/** The error in `--log-level`. The library would report an unknown command instead. */
export const wrongLevel = (args: ReadonlyArray<string>): string | undefined => {
  const at = args.indexOf("--log-level")
  const level = args[at + 1]
  if (at < 0 || (level !== undefined && levels.includes(level.toLowerCase()))) return undefined
  return `--log-level takes one of ${levels.join(", ")}`
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches these characters
const colours = /\u001b\[[\d;]*m/g

/** A console that writes colours only to a terminal. */
export const plain = (console: Console.Console): Console.Console => {
  const without = (stream: NodeJS.WriteStream, write: (...words: ReadonlyArray<unknown>) => Effect.Effect<void>) =>
    stream.isTTY && (process.env["NO_COLOR"] ?? "") === ""
      ? write
      : (...words: ReadonlyArray<unknown>) =>
          write(...words.map((word) => (typeof word === "string" ? word.replaceAll(colours, "") : word)))
  return {
    ...console,
    log: without(process.stdout, (...words) => console.log(...words)),
    error: without(process.stderr, (...words) => console.error(...words))
  }
}
