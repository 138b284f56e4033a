import { randomBytes } from "node:crypto"
import { constants } from "node:fs"
import { link, open, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Data, Effect, Option, Predicate, Redacted } from "effect"
import type { Settings } from "../Config.ts"
import type { Options } from "../services/access/Tokens.ts"
import { makeDirectory } from "../sql/MakeDirectory.ts"

/** How tokens are verified. If no key is set, it uses a generated secret in the data directory. */
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

/** The secret file is not safe to use: another user may know the secret or may have created the file. */
export class SecretUnusable extends Data.TaggedError("SecretUnusable")<{
  readonly file: string
  readonly why: string
}> {
  override get message() {
    return `DATA_DIR has a secret that cannot be used: ${this.file} ${this.why}. Remove it to make a new one, or set JWT_SECRET.`
  }
}

/** The data directory cannot be created, read or written to. */
export class DataDirUnusable extends Data.TaggedError("DataDirUnusable")<{
  readonly dataDir: string
  readonly why: string
}> {
  override get message() {
    return `DATA_DIR is ${JSON.stringify(this.dataDir)}, but should be a directory that this user can write to: ${this.why}`
  }
}

/** The secret is stored, so that tokens stay valid after a restart. */
const developmentSecret = (dataDir: string) =>
  Effect.tryPromise({
    try: async () => {
      const file = join(dataDir, "jwt-secret")
      const kept = await readSecret(file)
      if (kept !== undefined) return kept
      await makeDirectory(dataDir)
      const draft = join(dataDir, `jwt-secret.${crypto.randomUUID()}`)
      try {
        await writeFile(draft, randomBytes(48).toString("base64url"), { flag: "wx", mode: 0o600, flush: true })
        // Atomic. If two processes do this at once, the first one wins.
        await link(draft, file).catch(() => undefined)
      } finally {
        await rm(draft, { force: true })
      }
      return (await readSecret(file)) ?? Promise.reject(new SecretUnusable({ file, why: "could not be made" }))
    },
    catch: (error) =>
      error instanceof SecretUnusable
        ? error
        : new DataDirUnusable({ dataDir, why: error instanceof Error ? error.message : String(error) })
  })

/**
 * The secret in a file, `undefined` without a file. The file must belong to this user, be private and be long enough.
 */
const readSecret = async (file: string): Promise<Redacted.Redacted | undefined> => {
  const refuse = (why: string) => new SecretUnusable({ file, why })
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch((error) => {
    if (isCode(error, "ENOENT")) return undefined
    throw isCode(error, "ELOOP") ? refuse("is a link") : error
  })
  if (handle === undefined) return undefined
  try {
    const about = await handle.stat()
    if (!about.isFile()) throw refuse("is not a file")
    if (process.getuid !== undefined && about.uid !== process.getuid()) throw refuse("belongs to another user")
    if (process.getuid !== undefined && (about.mode & 0o077) !== 0) throw refuse("can be read or written by others")
    if (about.size < minSecretBytes) throw refuse(`has fewer than ${minSecretBytes} bytes`)
    return Redacted.make(await handle.readFile("utf8"))
  } finally {
    await handle.close()
  }
}

/** The same minimum as for `JWT_SECRET`. */
const minSecretBytes = 32

const isCode = (error: unknown, code: string) => Predicate.hasProperty(error, "code") && error.code === code
