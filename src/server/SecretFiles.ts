import { FileSystem } from "@effect/platform"
import { Config, ConfigError, ConfigProvider, Effect, Option } from "effect"
import { secrets } from "../ConfigReaders.ts"

/** In bytes. */
const maxSize = 64 * 1024

const invalid = (name: string, file: string, should: string) =>
  ConfigError.InvalidData([name], `${name} is ${JSON.stringify(file)}, but should be ${should}`)

/** Follows links and accepts any mode, because secrets are mounted that way. Removes one newline at the end. */
const contentOf = (name: string, file: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const { size, type } = yield* fs.stat(file)
    if (type !== "File" || size > maxSize) return yield* Effect.fail("unusable")
    return (yield* fs.readFileString(file)).replace(/\r?\n$/, "")
  }).pipe(Effect.mapError(() => invalid(name, file, "a file that can be read, of at most 64 KiB")))

const given = (name: string) =>
  Effect.map(
    Config.option(Config.string(name)),
    Option.filter((value) => value.trim() !== "")
  )

/** Lets `self` read secrets also from the files that the `…_FILE` variables name. */
export const provide = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const found = yield* Effect.forEach(secrets, (secret) =>
      Effect.gen(function* () {
        const name = `${secret}_FILE`
        const file = yield* given(name)
        if (Option.isNone(file)) return []
        if (Option.isSome(yield* given(secret))) {
          return yield* Effect.fail(invalid(name, file.value, `unset where ${secret} is set`))
        }
        return [[secret, yield* contentOf(name, file.value)] as const]
      })
    )
    const fromFiles = ConfigProvider.fromMap(new Map(found.flat()))
    return yield* Effect.configProviderWith((provider) =>
      Effect.withConfigProvider(
        self,
        ConfigProvider.orElse(fromFiles, () => provider)
      )
    )
  })
