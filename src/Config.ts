import { Array as Arr, Config, ConfigError, Duration, Either, LogLevel, Option, Redacted } from "effect"
import {
  apiKey,
  duration,
  integer,
  oneOf,
  or,
  parsed,
  parsedSecret,
  secret,
  secretUrl,
  text,
  url,
  wrong
} from "./ConfigReaders.ts"
import { isLoopback } from "./domain/Loopback.ts"

/* All environment variables, with units and defaults. */

const server = Config.all({
  /** Interface to listen on. */
  host: text("HOST").pipe(or("127.0.0.1")),
  /** TCP port. 0 means any free port. */
  port: integer("PORT", 0, 65535).pipe(or(3000)),
  /** Origins whose pages may call the API. Empty means none. */
  corsOrigins: parsed("CORS_ORIGINS", "origins such as https://app.example.com, separated by commas", (value) => {
    const origins = value.split(",").map((origin) => origin.trim())
    return origins.every((origin) => URL.canParse(origin) && new URL(origin).origin === origin) ? origins : undefined
  }).pipe(or<ReadonlyArray<string>>([])),
  /** How long running turns may continue after a stop signal. */
  shutdownGrace: duration("SHUTDOWN_GRACE", 0, "1 hour").pipe(or(Duration.seconds(30))),
  /**
   * How long the node keeps serving before that, so that load balancers notice. Unset: 0 on a terminal, else 5 seconds.
   */
  shutdownDelay: duration("SHUTDOWN_DELAY", 0, "10 minutes"),
  /** The URL that clients use, such as the URL of a reverse proxy. */
  publicUrl: url("PUBLIC_URL", "https", "http"),
  /** Whether to serve the chat page at `/`. Unset: only on a loopback `HOST`. */
  page: oneOf("PAGE", ["on", "off"])
}).pipe(
  Config.mapOrFail(({ page, ...rest }) => {
    const isLocal = isLoopback(rest.host)
    const isOn = Option.match(page, { onNone: () => isLocal, onSome: (value) => value === "on" })
    return isOn && !isLocal && Option.isNone(rest.publicUrl)
      ? Either.left(wrong("PAGE", "on", "off where HOST is not a loopback address, unless PUBLIC_URL is set"))
      : Either.right({ ...rest, page: isOn })
  })
)

const database = Config.all({
  /** PostgreSQL 14 or later. Unset: the embedded PostgreSQL. */
  url: secretUrl("DATABASE_URL", "postgres", "postgres(?:ql)?"),
  /** Directory of the embedded database and the development secret. */
  dataDir: text("DATA_DIR").pipe(or(".taskchat")),
  /** The most connections. */
  poolSize: integer("DATABASE_POOL_SIZE", 1, 1000).pipe(or(10))
})

const publicKeys = ["RS256", "ES256", "EdDSA"] as const

/** The keys that verify tokens. `development` is a generated secret in the data directory. */
type Keys =
  | { readonly _tag: "development" }
  | { readonly _tag: "secret"; readonly secret: Redacted.Redacted }
  | { readonly _tag: "jwks"; readonly url: URL; readonly algorithms: ReadonlyArray<(typeof publicKeys)[number]> }

const algorithms = parsed("JWT_ALGORITHMS", "HS256, or some of RS256, ES256, EdDSA, separated by commas", (value) => {
  const names = value.split(",").map((name) => name.trim())
  const valid = Arr.filterMap(names, (name) => Arr.findFirst([...publicKeys, "HS256"] as const, (one) => one === name))
  return valid.length === names.length ? valid : undefined
})

const keys = Config.all({ secret: secret("JWT_SECRET"), jwks: url("JWT_JWKS_URL", "https", "http"), algorithms }).pipe(
  Config.mapOrFail(({ algorithms, jwks, secret }): Either.Either<Keys, ConfigError.ConfigError> => {
    if (Option.isSome(secret) && Option.isSome(jwks)) {
      return Either.left(
        wrong("JWT_JWKS_URL", jwks.value.href, "unset where JWT_SECRET is set: tokens have one issuer")
      )
    }
    const named = Option.getOrElse(algorithms, () => (Option.isSome(jwks) ? [...publicKeys] : (["HS256"] as const)))
    const isPublic = (name: string): name is (typeof publicKeys)[number] => name !== "HS256"
    if (Option.isSome(jwks)) {
      return named.every(isPublic)
        ? Either.right({ _tag: "jwks", url: jwks.value, algorithms: named.filter(isPublic) })
        : Either.left(wrong("JWT_ALGORITHMS", named.join(","), "some of RS256, ES256, EdDSA where JWT_JWKS_URL is set"))
    }
    if (named.some(isPublic)) {
      return Either.left(wrong("JWT_ALGORITHMS", named.join(","), "HS256 where JWT_JWKS_URL is not set"))
    }
    if (Option.isNone(secret)) return Either.right({ _tag: "development" })
    return Buffer.byteLength(Redacted.value(secret.value)) >= 32
      ? Either.right({ _tag: "secret", secret: secret.value })
      : Either.left(
          ConfigError.InvalidData(["JWT_SECRET"], "JWT_SECRET is shorter, but should be at least 32 bytes long")
        )
  })
)

const auth = Config.all({
  keys,
  /** The required `iss` of tokens. */
  issuer: text("JWT_ISSUER"),
  /** The required `aud` of tokens. */
  audience: text("JWT_AUDIENCE"),
  /** The claim with the user. Unset: `user_id`, else `sub`. Response headers contain its name. */
  userClaim: parsed("JWT_USER_CLAIM", "a claim's name in visible ASCII without quotes and backslashes", (value) =>
    /^[\x21\x23-\x5b\x5d-\x7e]{1,255}$/.test(value) ? value : undefined
  ),
  /** `token`: tokens contain user ids. `mapped`: tokens contain account names, and the service assigns ids to them. */
  userIds: oneOf("USER_IDS", ["token", "mapped"]).pipe(or<"token" | "mapped">("token"))
}).pipe(
  Config.mapOrFail((auth) => {
    // Otherwise any account of any other customer of the identity provider would be accepted as a user.
    const missing =
      auth.userIds !== "mapped" || auth.keys._tag !== "jwks"
        ? undefined
        : Option.isNone(auth.issuer)
          ? "JWT_ISSUER"
          : Option.isNone(auth.audience)
            ? "JWT_AUDIENCE"
            : undefined
    return missing === undefined
      ? Either.right(auth)
      : Either.left(
          ConfigError.MissingData([missing], `${missing} is not set, but USER_IDS mapped with JWT_JWKS_URL needs it`)
        )
  })
)

const idle = duration("MODEL_IDLE_TIMEOUT", "1 millis", "1 hour").pipe(or(Duration.seconds(15)))

export interface Upstream {
  readonly apiKey: Option.Option<Redacted.Redacted>
  readonly apiUrl: string
  readonly model: string
  readonly temperature: Option.Option<number>
  readonly maxOutputTokens: Option.Option<number>
  /** The longest silence of the provider. */
  readonly idleTimeout: Duration.Duration
}

/** One model of one provider. */
export type Provider = { readonly _tag: "openai" | "chat-completions" | "anthropic" } & Upstream

export type Model =
  | { readonly _tag: "offline" }
  /** `fallback` answers a turn if the first model is busy or unreachable. */
  | (Provider & { readonly fallback: Option.Option<Provider> })

/** The name of a model in turns, usage and metrics. */
export const nameOf = ({ _tag, model }: Pick<Provider, "_tag" | "model">) => `${_tag}:${model}`

const baseUrl = (name: string) =>
  url(name, "https", "http").pipe(Config.map(Option.map(({ href }) => href.replace(/\/+$/, ""))))

const providers = ["openai", "chat-completions", "anthropic"] as const

const model = Config.all({
  chosen: oneOf("MODEL_PROVIDER", [...providers, "offline"]),
  fallback: parsed(
    "MODEL_FALLBACK",
    `one of ${providers.join(", ")} with a model, such as openai:gpt-4.1-mini`,
    (value) => {
      const [, name = "", model = ""] = /^([a-z-]+):(\S+)$/.exec(value) ?? []
      const provider = providers.find((one) => one === name)
      return provider === undefined ? undefined : { provider, model }
    }
  ),
  openai: Config.all({
    apiKey: apiKey("OPENAI_API_KEY"),
    apiUrl: baseUrl("OPENAI_BASE_URL"),
    model: text("OPENAI_MODEL").pipe(or("gpt-4.1-mini"))
  }),
  anthropic: Config.all({
    apiKey: apiKey("ANTHROPIC_API_KEY"),
    apiUrl: baseUrl("ANTHROPIC_BASE_URL"),
    model: text("ANTHROPIC_MODEL").pipe(or("claude-sonnet-4-5"))
  }),
  temperature: parsed("MODEL_TEMPERATURE", "a number from 0 to 2", (value) => {
    const n = /^\d(\.\d+)?$/.test(value) ? Number(value) : Number.NaN
    return n <= 2 ? n : undefined
  }),
  maxOutputTokens: integer("MODEL_MAX_OUTPUT_TOKENS", 1, 1_000_000),
  idleTimeout: idle
}).pipe(
  Config.mapOrFail(
    ({ anthropic, chosen, fallback, openai, ...common }): Either.Either<Model, ConfigError.ConfigError> => {
      /** A provider with the settings of its own variables. `asked` is the variable that selects it. */
      const provider = (_tag: Provider["_tag"], asked: string): Either.Either<Provider, ConfigError.ConfigError> => {
        const missing = (name: string) =>
          Either.left(ConfigError.MissingData([name], `${name} is not set, but ${asked} ${_tag} needs it`))
        switch (_tag) {
          case "anthropic": {
            if (Option.isNone(anthropic.apiKey)) return missing("ANTHROPIC_API_KEY")
            const apiUrl = Option.getOrElse(anthropic.apiUrl, () => "https://api.anthropic.com/v1")
            return Either.right({ _tag, ...common, ...anthropic, apiUrl })
          }
          case "chat-completions":
            // No default: a guess could send the key to another service than it is for.
            return Option.isNone(openai.apiUrl)
              ? missing("OPENAI_BASE_URL")
              : Either.right({ _tag, ...common, ...openai, apiUrl: openai.apiUrl.value })
          case "openai": {
            if (Option.isNone(openai.apiKey)) return missing("OPENAI_API_KEY")
            const apiUrl = Option.getOrElse(openai.apiUrl, () => "https://api.openai.com/v1")
            return Either.right({ _tag, ...common, ...openai, apiUrl })
          }
        }
      }
      const _tag = Option.getOrElse(chosen, () => (Option.isSome(openai.apiKey) ? "openai" : "offline"))
      if (_tag === "offline") {
        return Option.match(fallback, {
          onNone: () => Either.right({ _tag }),
          onSome: (given) =>
            Either.left(
              wrong("MODEL_FALLBACK", `${given.provider}:${given.model}`, "unset where MODEL_PROVIDER is offline")
            )
        })
      }
      return Either.flatMap(provider(_tag, "MODEL_PROVIDER"), (first) => {
        if (Option.isNone(fallback)) return Either.right({ ...first, fallback: Option.none() })
        const { model, provider: name } = fallback.value
        return Either.flatMap(provider(name, "MODEL_FALLBACK"), (found) => {
          const second = { ...found, model }
          return nameOf(second) === nameOf(first)
            ? Either.left(wrong("MODEL_FALLBACK", nameOf(second), "another model than the first"))
            : Either.right({ ...first, fallback: Option.some(second) })
        })
      })
    }
  )
)

const agent = Config.all({
  /** The time limit of a turn. */
  timeout: duration("AGENT_TIMEOUT", "1 millis", "1 hour").pipe(or(Duration.seconds(30))),
  /** The most calls of the model in a turn. */
  maxSteps: integer("AGENT_MAX_STEPS", 1, 50).pipe(or(8)),
  /** The most earlier messages that the agent sees. */
  historyLimit: integer("HISTORY_LIMIT", 0, 1000).pipe(or(20)),
  /** The most tokens of these messages, estimated. */
  historyMaxTokens: integer("HISTORY_MAX_TOKENS", 0, 10_000_000).pipe(or(16_000)),
  /** Which tool calls need the user's approval. */
  confirm: oneOf("CONFIRM", ["deletions", "changes", "off"]).pipe(or<"deletions" | "changes" | "off">("off")),
  /** The longest message, in code points. */
  messageMaxLength: integer("MESSAGE_MAX_LENGTH", 1, 100_000).pipe(or(4000))
})

const limits = Config.all({
  /** Requests per user and minute. */
  chat: integer("RATE_LIMIT_CHAT", 1, 1_000_000).pipe(or(60)),
  api: integer("RATE_LIMIT_API", 1, 1_000_000).pipe(or(600)),
  /** If set, the rate limits are shared by all nodes. */
  redisUrl: secretUrl("REDIS_URL", "redis", "rediss?"),
  /** Running turns on this node, and running turns per user on all nodes. */
  runningTurns: integer("MAX_RUNNING_TURNS", 1, 100_000).pipe(or(1000)),
  runningTurnsPerUser: integer("MAX_RUNNING_TURNS_PER_USER", 1, 1000).pipe(or(5)),
  /** Input and output tokens per user and day in UTC. */
  tokensPerUserPerDay: integer("TOKENS_PER_USER_PER_DAY", 1, 1_000_000_000)
})

const data = Config.all({
  /** How long to keep a conversation after its last message. Unset: forever. */
  retention: duration("RETENTION", "1 day", "36500 days"),
  /** How long to keep deleted data before it is erased. */
  deletedRetention: duration("DELETED_RETENTION", "1 day", "36500 days").pipe(or(Duration.days(30))),
  /** Whether users can erase all of their data. */
  eraseEndpoint: oneOf("ERASE_ENDPOINT", ["on", "off"]).pipe(
    or<"on" | "off">("off"),
    Config.map((value) => value === "on")
  )
})

/** The token of the user for `taskchat mcp --stdio` and `taskchat chat --url`. */
export const token = Config.mapOrFail(secret("TASKCHAT_TOKEN"), (given) =>
  Either.fromOption(given, () =>
    ConfigError.MissingData(
      ["TASKCHAT_TOKEN"],
      "TASKCHAT_TOKEN is not set, but should be a token, as `taskchat token` prints one"
    )
  )
)

const levels = {
  trace: LogLevel.Trace,
  debug: LogLevel.Debug,
  info: LogLevel.Info,
  warning: LogLevel.Warning,
  error: LogLevel.Error,
  none: LogLevel.None
}

const logging = Config.all({
  level: parsed(
    "LOG_LEVEL",
    `one of ${Object.keys(levels).join(", ")}, warn`,
    (value) => Object.entries({ ...levels, warn: LogLevel.Warning }).find(([name]) => name === value.toLowerCase())?.[1]
  ).pipe(or<LogLevel.LogLevel>(LogLevel.Info)),
  /** Unset: `pretty` on a terminal, else `json`. */
  format: oneOf("LOG_FORMAT", ["json", "pretty"]),
  otlp: Config.all({
    /** Base URL of an OTLP collector, for traces, metrics and logs. */
    endpoint: url("OTEL_EXPORTER_OTLP_ENDPOINT", "https", "http").pipe(
      Config.map(Option.map(({ href }) => href.replace(/\/+$/, "")))
    ),
    /** Headers for the collector, in the form that `headersIn` reads. */
    headers: parsedSecret(
      "OTEL_EXPORTER_OTLP_HEADERS",
      "names and values such as api-key=abc, separated by commas, with other characters written as %20",
      (value) => value.split(",").every((pair) => /^\s*[\w-]+=(?:[\x21-\x24\x26-\x7e]|%[2-7][\da-f])*\s*$/i.test(pair))
    ),
    serviceName: text("OTEL_SERVICE_NAME").pipe(or("taskchat"))
  })
})

/** Reads `api-key=abc,tenant=a%20b` as headers. */
export const headersIn = (given: Redacted.Redacted): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Redacted.value(given)
      .split(",")
      .map((pair) => {
        const [name = "", ...value] = pair.trim().split("=")
        return [name, decodeURIComponent(value.join("="))]
      })
  )

/** All settings of the service. */
export const settings = Config.all({ server, database, auth, model, agent, limits, data, logging }).pipe(
  Config.mapOrFail((all) =>
    all.auth.keys._tag === "development" && !isLoopback(all.server.host)
      ? Either.left(
          wrong(
            "HOST",
            all.server.host,
            "127.0.0.1, ::1 or localhost as long as neither JWT_SECRET nor JWT_JWKS_URL is set"
          )
        )
      : Either.right(all)
  )
)
export type Settings = Config.Config.Success<typeof settings>

/** The errors in the settings, one line per variable. */
export const explain = (error: ConfigError.ConfigError): string => {
  switch (error._op) {
    case "And":
    case "Or":
      return `${explain(error.left)}\n${explain(error.right)}`
    default:
      return error.message
  }
}
