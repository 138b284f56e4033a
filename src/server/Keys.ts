import { randomBytes } from "node:crypto"
import { FileSystem, Path } from "@effect/platform"
import { Effect, Option, Redacted } from "effect"
import type { Settings } from "../Config.ts"
import type { Options } from "../services/access/Tokens.ts"

/** What tokens are verified with. Where nothing is set, a secret is made and kept in the data directory. */
export const options = ({ auth, database }: Pick<Settings, "auth" | "database">) =>
  Effect.gen(function* () {
    const expected = {
      ...(Option.isSome(auth.issuer) ? { issuer: auth.issuer.value } : {}),
      ...(Option.isSome(auth.audience) ? { audience: auth.audience.value } : {}),
      ...(Option.isSome(auth.userClaim) ? { userClaim: auth.userClaim.value } : {})
    }
    switch (auth.keys._tag) {
      case "development":
        return { keys: { secret: yield* developmentSecret(database.dataDir) }, ...expected } satisfies Options
      case "secret":
        return { keys: { secret: auth.keys.secret }, ...expected } satisfies Options
      case "jwks":
        return { keys: { jwksUrl: auth.keys.url, algorithms: auth.keys.algorithms }, ...expected } satisfies Options
    }
  })

/** Readable by its owner alone, and the same over restarts, so that tokens stay valid. */
const developmentSecret = (dataDir: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const file = path.join(dataDir, "jwt-secret")
    const read = Effect.map(fs.readFileString(file), Redacted.make)
    if (yield* fs.exists(file)) return yield* read
    yield* fs.makeDirectory(dataDir, { recursive: true, mode: 0o700 })
    const draft = path.join(dataDir, `jwt-secret.${crypto.randomUUID()}`)
    yield* fs.writeFileString(draft, randomBytes(48).toString("base64url"), { flag: "wx", mode: 0o600 })
    // Whole or not at all; of two processes at once, the first one's counts.
    yield* Effect.ignore(fs.link(draft, file))
    yield* fs.remove(draft)
    return yield* read
  })
