import { Config, ConfigError, Duration, Either, Option, Redacted } from "effect"

/*
 * Readers for environment variables. The error for an invalid value is `NAME is …, but should be …`. It never contains
 * the value of a secret. An empty variable counts as unset.
 */

export const wrong = (name: string, value: string, should: string) =>
  ConfigError.InvalidData([name], `${name} is ${JSON.stringify(value)}, but should be ${should}`)

export const text = (name: string) =>
  Config.option(Config.string(name)).pipe(
    Config.map(Option.map((value) => value.trim())),
    Config.map(Option.filter((value) => value !== ""))
  )

/** Reads a variable with `parse`, which returns `undefined` for an invalid value. */
export const parsed = <A>(name: string, should: string, parse: (value: string) => A | undefined) =>
  text(name).pipe(
    Config.mapOrFail(
      Option.match({
        onNone: () => Either.right(Option.none<A>()),
        onSome: (value) => {
          const read = parse(value)
          return read === undefined ? Either.left(wrong(name, value, should)) : Either.right(Option.some(read))
        }
      })
    )
  )

export const or =
  <A>(fallback: A) =>
  (config: Config.Config<Option.Option<A>>) =>
    Config.map(
      config,
      Option.getOrElse(() => fallback)
    )

export const integer = (name: string, min: number, max: number) =>
  parsed(name, `a whole number from ${min} to ${max}`, (value) => {
    const n = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN
    return n >= min && n <= max ? n : undefined
  })

export const duration = (name: string, min: Duration.DurationInput, max: Duration.DurationInput) =>
  parsed(
    name,
    `a duration such as "30 seconds", from ${Duration.format(Duration.decode(min))} to ${Duration.format(Duration.decode(max))}`,
    (value) => {
      const decoded = Duration.decodeUnknown(value) // refuses a number without a unit
      return Option.getOrUndefined(Option.filter(decoded, (d) => Duration.between(d, { minimum: min, maximum: max })))
    }
  )

export const oneOf = <const Values extends ReadonlyArray<string>>(name: string, values: Values) =>
  parsed(name, `one of ${values.join(", ")}`, (value) =>
    values.find((one): one is Values[number] => one === value.toLowerCase())
  )

export const url = (name: string, ...protocols: ReadonlyArray<string>) =>
  parsed(name, `a URL that begins with ${protocols.map((protocol) => `${protocol}://`).join(" or ")}`, (value) => {
    const read = URL.canParse(value) ? new URL(value) : undefined
    return read !== undefined && protocols.includes(read.protocol.slice(0, -1)) ? read : undefined
  })

/** Variables that may hold secrets. `NAME_FILE` is the path of a file with the value of `NAME`. */
export const secrets = [
  "ANTHROPIC_API_KEY",
  "DATABASE_URL",
  "JWT_SECRET",
  "OPENAI_API_KEY",
  "OTEL_EXPORTER_OTLP_HEADERS",
  "REDIS_URL",
  "TASKCHAT_TOKEN"
] as const
export type Secret = (typeof secrets)[number]

/** The error for an invalid secret does not contain its value. */
export const parsedSecret = (name: Secret, should: string, isOne: (value: string) => boolean) =>
  Config.mapOrFail(text(name), (given) =>
    Option.isSome(given) && !isOne(given.value)
      ? Either.left(ConfigError.InvalidData([name], `${name} is not shown, but should be ${should}`))
      : Either.right(Option.map(given, Redacted.make))
  )

export const secret = (name: Secret) => Config.map(text(name), Option.map(Redacted.make))

/** An API key is sent as a header, so it must be visible ASCII. */
export const apiKey = (name: Secret) =>
  parsedSecret(name, "visible ASCII characters without spaces", (value) => /^[\x21-\x7e]+$/.test(value))

/**
 * A URL that may contain a password. The host may be a query parameter instead. `/`, `#` and `?` in the password must
 * be percent-encoded, because they would end it.
 */
export const secretUrl = (name: Secret, scheme: "postgres" | "redis", schemes: string) => {
  const form = new RegExp(`^${schemes}://(?:(?:[^/?#@,%]|%[\\da-f]{2})*@)?[^/?#@,]*(?:/[^?#@]*)?(?:\\?[^#]*)?$`, "i")
  return parsedSecret(
    name,
    `a URL such as ${scheme}://user:password@host/name, with one host, and with / # ? @ % in the password written as %2F %23 %3F %40 %25`,
    (value) => form.test(value) && URL.canParse(value.replace(/^([a-z]+:\/\/[^/?]*@)(?=[/?]|$)/i, "$1localhost"))
  )
}
