import { assert, describe, it } from "@effect/vitest"
import { type Config, ConfigProvider, Duration, Effect, Either, FastCheck, LogLevel, Option, Redacted } from "effect"
import * as Settings from "../src/Config.ts"

const secret = "a secret of more than thirty-two bytes"

const read = <A>(config: Config.Config<A>, variables: Readonly<Record<string, string>>) =>
  Effect.runSync(
    Effect.either(
      Effect.withConfigProvider(config, ConfigProvider.fromMap(new Map(Object.entries(variables)), { pathDelim: "." }))
    )
  )

const settings = (variables: Readonly<Record<string, string>> = {}) =>
  Either.getOrThrowWith(read(Settings.settings, variables), (error) => new Error(Settings.explain(error)))

/** The error for a start with these variables. */
const complaint = (variables: Readonly<Record<string, string>>) =>
  Settings.explain(Either.getOrThrow(Either.flip(read(Settings.settings, variables))))

describe("without any variable", () => {
  const { agent, auth, database, limits, logging, model, server } = settings()

  it("the defaults match the documentation", () => {
    assert.deepStrictEqual(
      [server.host, server.port, server.corsOrigins, server.publicUrl, Duration.format(server.shutdownGrace)],
      ["127.0.0.1", 3000, [], Option.none(), "30s"]
    )
    assert.deepStrictEqual([database.url, database.dataDir, database.poolSize], [Option.none(), ".taskchat", 10])
    assert.deepStrictEqual(
      [auth.keys, auth.issuer, auth.audience, auth.userClaim, auth.userIds],
      [{ _tag: "development" }, Option.none(), Option.none(), Option.none(), "token"]
    )
    assert.deepStrictEqual(model, { _tag: "offline" })
    assert.deepStrictEqual(
      [Duration.format(agent.timeout), agent.maxSteps, agent.historyLimit, agent.messageMaxLength, agent.confirm],
      ["30s", 8, 20, 4000, "off"]
    )
    assert.deepStrictEqual(limits, {
      chat: 60,
      api: 600,
      redisUrl: Option.none(),
      runningTurns: 1000,
      runningTurnsPerUser: 5,
      tokensPerUserPerDay: Option.none()
    })
    assert.deepStrictEqual(
      [logging.level, logging.format, logging.otlp],
      [LogLevel.Info, Option.none(), { endpoint: Option.none(), headers: Option.none(), serviceName: "taskchat" }]
    )
  })
})

const variables = [
  "HOST",
  "PORT",
  "CORS_ORIGINS",
  "SHUTDOWN_GRACE",
  "SHUTDOWN_DELAY",
  "PUBLIC_URL",
  "PAGE",
  "DATABASE_URL",
  "DATA_DIR",
  "DATABASE_POOL_SIZE",
  "JWT_SECRET",
  "JWT_JWKS_URL",
  "JWT_ALGORITHMS",
  "JWT_ISSUER",
  "JWT_AUDIENCE",
  "JWT_USER_CLAIM",
  "USER_IDS",
  "MODEL_FALLBACK",
  "MODEL_PROVIDER",
  "OPENAI_API_KEY",
  "OPENAI_BASE_URL",
  "OPENAI_MODEL",
  "ANTHROPIC_API_KEY",
  "ANTHROPIC_BASE_URL",
  "ANTHROPIC_MODEL",
  "MODEL_TEMPERATURE",
  "MODEL_MAX_OUTPUT_TOKENS",
  "MODEL_IDLE_TIMEOUT",
  "AGENT_TIMEOUT",
  "AGENT_MAX_STEPS",
  "HISTORY_LIMIT",
  "HISTORY_MAX_TOKENS",
  "CONFIRM",
  "MESSAGE_MAX_LENGTH",
  "RATE_LIMIT_CHAT",
  "RATE_LIMIT_API",
  "REDIS_URL",
  "MAX_RUNNING_TURNS",
  "MAX_RUNNING_TURNS_PER_USER",
  "TOKENS_PER_USER_PER_DAY",
  "RETENTION",
  "DELETED_RETENTION",
  "ERASE_ENDPOINT",
  "LOG_LEVEL",
  "LOG_FORMAT",
  "OTEL_EXPORTER_OTLP_ENDPOINT",
  "OTEL_EXPORTER_OTLP_HEADERS",
  "OTEL_SERVICE_NAME"
]

it.each(variables)("an empty %s counts as unset", (name) => {
  assert.deepStrictEqual(settings({ [name]: "" }), settings())
  assert.deepStrictEqual(settings({ [name]: "  " }), settings())
})

it("values are read with their units", () => {
  const { agent, database, limits, logging, model, server } = settings({
    HOST: "::1",
    PORT: "0",
    CORS_ORIGINS: "https://app.example.com, http://localhost:5173",
    SHUTDOWN_GRACE: "0 seconds",
    DATABASE_URL: "postgres://me:pass@db:5432/x",
    AGENT_TIMEOUT: "1.5 minutes",
    CONFIRM: "Deletions",
    MODEL_PROVIDER: "chat-completions",
    OPENAI_BASE_URL: "http://localhost:11434/v1/",
    OPENAI_MODEL: "llama3",
    MODEL_TEMPERATURE: "0.2",
    MODEL_MAX_OUTPUT_TOKENS: "500",
    MODEL_IDLE_TIMEOUT: "250 millis",
    REDIS_URL: "rediss://cache",
    LOG_LEVEL: "WARN",
    LOG_FORMAT: "json"
  })
  assert.deepStrictEqual([server.host, server.port], ["::1", 0])
  assert.deepStrictEqual(server.corsOrigins, ["https://app.example.com", "http://localhost:5173"])
  assert.strictEqual(Duration.toMillis(server.shutdownGrace), 0)
  assert.deepStrictEqual(Option.map(database.url, Redacted.value), Option.some("postgres://me:pass@db:5432/x"))
  assert.strictEqual(Duration.toSeconds(agent.timeout), 90)
  assert.strictEqual(agent.confirm, "deletions")
  assert.deepStrictEqual(model, {
    _tag: "chat-completions",
    apiKey: Option.none(),
    apiUrl: "http://localhost:11434/v1",
    model: "llama3",
    temperature: Option.some(0.2),
    maxOutputTokens: Option.some(500),
    idleTimeout: Duration.millis(250),
    fallback: Option.none()
  })
  for (const url of ["postgresql://[::1]/x", "postgres://me:p%23@/x?host=/run/postgresql", "postgres:///x"]) {
    assert.isTrue(Option.isSome(settings({ DATABASE_URL: url }).database.url), url)
  }
  assert.deepStrictEqual(Option.map(limits.redisUrl, Redacted.value), Option.some("rediss://cache"))
  assert.deepStrictEqual([logging.level, logging.format], [LogLevel.Warning, Option.some("json")])
})

describe("the page is served", () => {
  const page = (variables: Readonly<Record<string, string>>) =>
    settings({ JWT_SECRET: secret, ...variables }).server.page

  it("on a loopback HOST, unless it is off", () => {
    assert.deepStrictEqual([page({}), page({ HOST: "::1", PAGE: "on" }), page({ PAGE: "off" })], [true, true, false])
  })

  it("elsewhere if it is on and PUBLIC_URL is set", () => {
    const HOST = "0.0.0.0"
    const PUBLIC_URL = "https://tasks.example.com"
    assert.deepStrictEqual(
      [page({ HOST }), page({ HOST, PUBLIC_URL }), page({ HOST, PUBLIC_URL, PAGE: "on" })],
      [false, false, true]
    )
    assert.match(complaint({ HOST, PAGE: "on", JWT_SECRET: secret }), /^PAGE is "on", but should be off .*PUBLIC_URL/)
  })
})

it("headers for a collector are decoded", () => {
  const { headers } = settings({ OTEL_EXPORTER_OTLP_HEADERS: "api-key=a=b, tenant=a%20b" }).logging.otlp
  assert.deepStrictEqual(Option.map(headers, Settings.headersIn), Option.some({ "api-key": "a=b", tenant: "a b" }))
})

describe("the model is", () => {
  it("OpenAI's if there is a key", () => {
    const { model } = settings({ OPENAI_API_KEY: "sk-1" })
    assert.strictEqual(model._tag, "openai")
  })

  it("Anthropic's or any compatible model if the variables of that provider are set", () => {
    const anthropic = settings({ MODEL_PROVIDER: "anthropic", ANTHROPIC_API_KEY: "sk-ant-1" }).model
    assert.deepInclude(anthropic, {
      _tag: "anthropic",
      apiUrl: "https://api.anthropic.com/v1",
      model: "claude-sonnet-4-5"
    })
    assert.match(complaint({ MODEL_PROVIDER: "anthropic", OPENAI_API_KEY: "sk-1" }), /^ANTHROPIC_API_KEY is not set/)
    assert.match(
      complaint({ MODEL_PROVIDER: "chat-completions", OPENAI_API_KEY: "sk-1" }),
      /^OPENAI_BASE_URL is not set/
    )
  })

  it("with a fallback that uses the variables of its own provider", () => {
    const both = { OPENAI_API_KEY: "sk-1", ANTHROPIC_API_KEY: "sk-ant-1", ANTHROPIC_BASE_URL: "https://claude.test/v1" }
    const { model } = settings({ ...both, MODEL_FALLBACK: "anthropic:claude-haiku-4-5", MODEL_TEMPERATURE: "0.5" })
    assert.deepInclude(model, { _tag: "openai", model: "gpt-4.1-mini" })
    const fallback = model._tag === "offline" ? undefined : Option.getOrThrow(model.fallback)
    assert.deepInclude(fallback, { _tag: "anthropic", apiUrl: "https://claude.test/v1", model: "claude-haiku-4-5" })
    assert.deepStrictEqual(fallback?.temperature, Option.some(0.5))
    const local = settings({
      OPENAI_BASE_URL: "http://localhost/v1",
      MODEL_PROVIDER: "chat-completions",
      MODEL_FALLBACK: "chat-completions:llama3:8b"
    }).model
    assert.deepInclude(local._tag === "offline" ? undefined : Option.getOrThrow(local.fallback), { model: "llama3:8b" })
  })

  it.each([
    [
      { OPENAI_API_KEY: "sk-1", MODEL_FALLBACK: "anthropic:claude" },
      /^ANTHROPIC_API_KEY is not set, but MODEL_FALLBACK/
    ],
    [
      { ANTHROPIC_API_KEY: "k", MODEL_PROVIDER: "anthropic", MODEL_FALLBACK: "chat-completions:m" },
      /^OPENAI_BASE_URL is not set/
    ],
    [
      { OPENAI_API_KEY: "sk-1", MODEL_FALLBACK: "gpt-4.1" },
      /^MODEL_FALLBACK is "gpt-4.1", but should be one of openai/
    ],
    [{ OPENAI_API_KEY: "sk-1", MODEL_FALLBACK: "offline:x" }, /^MODEL_FALLBACK is "offline:x", but should be one of/],
    [
      { OPENAI_API_KEY: "sk-1", MODEL_FALLBACK: "openai:gpt-4.1-mini" },
      /^MODEL_FALLBACK .* another model than the first/
    ],
    [
      { ANTHROPIC_API_KEY: "k", MODEL_FALLBACK: "anthropic:claude" },
      /^MODEL_FALLBACK .* unset where MODEL_PROVIDER is offline/
    ]
  ] as const)("not helped out by a fallback that cannot: %o", (variables, words) => {
    assert.match(complaint(variables), words)
  })

  it("the offline model if it is selected, with or without a key", () => {
    assert.deepStrictEqual(settings({ OPENAI_API_KEY: "sk-1", MODEL_PROVIDER: "offline" }).model, { _tag: "offline" })
  })
})

describe("tokens are verified", () => {
  const keys = (variables: Readonly<Record<string, string>>) => settings(variables).auth.keys

  it("with JWT_SECRET, on any interface", () => {
    const { auth, server } = settings({ JWT_SECRET: secret, HOST: "0.0.0.0", JWT_ALGORITHMS: "HS256" })
    assert.strictEqual(server.host, "0.0.0.0")
    assert.strictEqual(auth.keys._tag === "secret" ? Redacted.value(auth.keys.secret) : undefined, secret)
  })

  it("with the keys of JWT_JWKS_URL, by all or the chosen algorithms", () => {
    const url = "https://issuer.example.com/keys"
    assert.deepStrictEqual(keys({ JWT_JWKS_URL: url }), {
      _tag: "jwks",
      url: new URL(url),
      algorithms: ["RS256", "ES256", "EdDSA"]
    })
    assert.deepStrictEqual(keys({ JWT_JWKS_URL: url, JWT_ALGORITHMS: "ES256, EdDSA" }), {
      _tag: "jwks",
      url: new URL(url),
      algorithms: ["ES256", "EdDSA"]
    })
  })

  it("with a development secret, on loopback addresses only", () => {
    for (const HOST of ["127.0.0.1", "127.1.2.3", "::1", "localhost"]) {
      assert.strictEqual(keys({ HOST })._tag, "development")
    }
    for (const HOST of ["0.0.0.0", "::", "192.168.0.1", "example.com", "127.0.0.1.example.com"]) {
      assert.match(complaint({ HOST }), /^HOST is ".*JWT_SECRET/)
    }
  })
})

describe("an error is one line with the variable, its value and the expected value", () => {
  const jwks = "https://issuer.example.com/keys"
  const wrong: ReadonlyArray<readonly [string, Readonly<Record<string, string>>]> = [
    ["PORT", { PORT: "http" }],
    ["PORT", { PORT: "70000" }],
    ["PORT", { PORT: "-1" }],
    ["PORT", { PORT: "3000.5" }],
    ["PORT", { PORT: "0x10" }],
    ["CORS_ORIGINS", { CORS_ORIGINS: "https://app.example.com/" }],
    ["CORS_ORIGINS", { CORS_ORIGINS: "*" }],
    ["SHUTDOWN_GRACE", { SHUTDOWN_GRACE: "soon" }],
    ["SHUTDOWN_DELAY", { SHUTDOWN_DELAY: "5" }],
    ["PUBLIC_URL", { PUBLIC_URL: "tasks.example.com" }],
    ["PAGE", { PAGE: "yes" }],
    ["AGENT_TIMEOUT", { AGENT_TIMEOUT: "0 seconds" }],
    ["AGENT_TIMEOUT", { AGENT_TIMEOUT: "30" }],
    ["AGENT_TIMEOUT", { AGENT_TIMEOUT: "Infinity" }],
    ["MODEL_IDLE_TIMEOUT", { MODEL_IDLE_TIMEOUT: "2 days" }],
    ["DATABASE_POOL_SIZE", { DATABASE_POOL_SIZE: "0" }],
    ["JWT_ALGORITHMS", { JWT_ALGORITHMS: "none" }],
    ["JWT_ALGORITHMS", { JWT_SECRET: secret, JWT_ALGORITHMS: "HS256,none" }],
    ["JWT_ALGORITHMS", { JWT_SECRET: secret, JWT_ALGORITHMS: "RS256" }],
    ["JWT_ALGORITHMS", { JWT_JWKS_URL: jwks, JWT_ALGORITHMS: "HS256" }],
    ["JWT_ALGORITHMS", { JWT_JWKS_URL: jwks, JWT_ALGORITHMS: "RS256,HS256" }],
    ["JWT_JWKS_URL", { JWT_JWKS_URL: "issuer.example.com" }],
    ["JWT_JWKS_URL", { JWT_JWKS_URL: "file:///keys" }],
    ["JWT_JWKS_URL", { JWT_JWKS_URL: jwks, JWT_SECRET: secret }],
    ["JWT_USER_CLAIM", { JWT_USER_CLAIM: 'my "claim"' }],
    ["USER_IDS", { USER_IDS: "text" }],
    ["MODEL_PROVIDER", { MODEL_PROVIDER: "none" }],
    ["MODEL_TEMPERATURE", { MODEL_TEMPERATURE: "3" }],
    ["MODEL_MAX_OUTPUT_TOKENS", { MODEL_MAX_OUTPUT_TOKENS: "many" }],
    ["OPENAI_BASE_URL", { OPENAI_BASE_URL: "localhost:11434" }],
    ["AGENT_MAX_STEPS", { AGENT_MAX_STEPS: "0" }],
    ["CONFIRM", { CONFIRM: "on" }],
    ["HISTORY_LIMIT", { HISTORY_LIMIT: "-1" }],
    ["HISTORY_MAX_TOKENS", { HISTORY_MAX_TOKENS: "16k" }],
    ["MESSAGE_MAX_LENGTH", { MESSAGE_MAX_LENGTH: "1e3" }],
    ["RATE_LIMIT_CHAT", { RATE_LIMIT_CHAT: "0" }],
    ["RATE_LIMIT_API", { RATE_LIMIT_API: "unlimited" }],
    ["MAX_RUNNING_TURNS", { MAX_RUNNING_TURNS: "10000000000000000" }],
    ["MAX_RUNNING_TURNS_PER_USER", { MAX_RUNNING_TURNS_PER_USER: "0" }],
    ["TOKENS_PER_USER_PER_DAY", { TOKENS_PER_USER_PER_DAY: "0" }],
    ["RETENTION", { RETENTION: "1 hour" }],
    ["DELETED_RETENTION", { DELETED_RETENTION: "30" }],
    ["ERASE_ENDPOINT", { ERASE_ENDPOINT: "true" }],
    ["LOG_LEVEL", { LOG_LEVEL: "loud" }],
    ["LOG_FORMAT", { LOG_FORMAT: "xml" }],
    ["OTEL_EXPORTER_OTLP_ENDPOINT", { OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318" }]
  ]

  it.each(wrong)("%s (%j)", (name, variables) => {
    const line = complaint(variables)
    assert.notInclude(line, "\n")
    assert.isTrue(line.startsWith(`${name} is ${JSON.stringify(variables[name])}, but should be `), line)
  })

  it("without the value of a secret", () => {
    const secrets = [
      { JWT_SECRET: "hush, too short" },
      { DATABASE_URL: "mysql://me:hush@db/x" },
      { DATABASE_URL: "hush" },
      { DATABASE_URL: "postgres://me:hush@[/x" },
      { DATABASE_URL: "postgres://me:hush@db:port/x" },
      { DATABASE_URL: "postgres://me:hush@db:5432,other:5432/x" },
      { DATABASE_URL: "postgres://me:hu#sh@db/x" },
      { DATABASE_URL: "postgres://me:1#hush@db/x" },
      { DATABASE_URL: "postgres://me:hu/sh@db/x" },
      { DATABASE_URL: "postgres://me:1/hush@db/x" },
      { DATABASE_URL: "postgres://me:hu?sh@db/x" },
      { DATABASE_URL: "postgres://me:hu@sh@db/x" },
      { DATABASE_URL: "postgres://me:hush%@db/x" },
      { OPENAI_API_KEY: "“hush" },
      { OPENAI_API_KEY: "hush hush" },
      { OTEL_EXPORTER_OTLP_HEADERS: "hush" },
      { OTEL_EXPORTER_OTLP_HEADERS: "api-key=hush%0a" },
      { REDIS_URL: "http://:hush@cache" },
      { OPENAI_API_KEY: "hush", MODEL_PROVIDER: "hash" },
      { JWT_SECRET: `hush, ${secret}`, JWT_JWKS_URL: jwks }
    ]
    for (const variables of secrets) assert.notInclude(complaint(variables), "hush")
    assert.match(complaint({ JWT_SECRET: "hush, too short" }), /^JWT_SECRET .*32 bytes/)
    assert.match(complaint({ DATABASE_URL: "hush" }), /^DATABASE_URL .*postgres:\/\//)
    assert.match(complaint({ REDIS_URL: "hush" }), /^REDIS_URL .*redis:\/\//)
    assert.match(complaint({ OPENAI_API_KEY: "“hush”" }), /^OPENAI_API_KEY .*visible ASCII/)
    assert.match(complaint({ ANTHROPIC_API_KEY: "hush\nhush" }), /^ANTHROPIC_API_KEY .*visible ASCII/)
  })

  it("names a missing variable", () => {
    const token = read(Settings.token, {})
    assert.match(Either.isLeft(token) ? Settings.explain(token.left) : "", /^TASKCHAT_TOKEN is not set/)
    const keys = { USER_IDS: "mapped", JWT_JWKS_URL: jwks }
    assert.match(complaint({ ...keys, JWT_AUDIENCE: "tasks" }), /^JWT_ISSUER is not set.*USER_IDS/)
    assert.match(complaint({ ...keys, JWT_ISSUER: "https://issuer.example.com" }), /^JWT_AUDIENCE is not set.*USER_IDS/)
    assert.match(complaint({ MODEL_PROVIDER: "openai" }), /^OPENAI_API_KEY is not set.*MODEL_PROVIDER/)
  })
})

it.prop(
  "whatever a variable is set to, it is taken or complained about by its name, without a defect",
  [FastCheck.constantFrom(...variables), FastCheck.string({ unit: "binary" })],
  ([name, value]) => {
    const result = read(Settings.settings, { [name]: value })
    if (Either.isLeft(result)) assert.include(Settings.explain(result.left), name)
  },
  { fastCheck: { numRuns: 300 } }
)
