import { existsSync } from "node:fs"
import { Options } from "@effect/cli"
import { FileSystem } from "@effect/platform"
import { Data, Effect, Option, Schema } from "effect"
import { UserId } from "../domain/Id.ts"
import { Identity } from "../domain/Identity.ts"
import * as UserIds from "../services/access/UserIds.ts"
import * as Help from "./Help.ts"

/** The options of `taskchat migrate`. */
export const options = {
  userIds: Help.option(
    "user-ids",
    "token or mapped",
    Schema.decodeUnknownOption(Schema.Literal("token", "mapped"))
  ).pipe(
    Options.withDescription("Changes the database to USER_IDS=token or USER_IDS=mapped. No node may be running"),
    Options.optional
  ),
  links: Help.option("links", "a file that exists", Option.liftPredicate(existsSync)).pipe(
    Options.withDescription(
      'With --user-ids mapped: a file with the accounts of existing ids, one {"user_id": 7, "issuer": "https://…", "user": "auth0|…"} per line'
    ),
    Options.optional
  )
}

interface Given {
  readonly userIds: Option.Option<UserIds.Mode>
  readonly links: Option.Option<string>
}

class WrongLinks extends Data.TaggedError("WrongLinks")<{ readonly message: string }> {}

const Line = Schema.parseJson(
  Schema.Struct({ user_id: UserId, issuer: Identity.fields.issuer, user: Identity.fields.subject })
)

const linksIn = (file: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const lines = (yield* fs.readFileString(file)).split(/\r?\n/).map((line, i) => ({ line, number: i + 1 }))
    const written = lines.filter(({ line }) => line.trim() !== "")
    return yield* Effect.forEach(written, ({ line, number }) =>
      Effect.mapBoth(Schema.decode(Line)(line), {
        onSuccess: ({ issuer, user, user_id }): UserIds.Link => ({ issuer, subject: user, userId: user_id }),
        onFailure: () =>
          new WrongLinks({ message: `Line ${number} of ${file} is not valid: see taskchat migrate --help` })
      })
    )
  })

/** Makes the change that the options ask for, if any. Returns a report as lines. */
export const of = ({ links: file, userIds: mode }: Given) =>
  Effect.gen(function* () {
    if (Option.isSome(file) && Option.getOrUndefined(mode) !== "mapped") {
      return yield* new WrongLinks({ message: "--links needs --user-ids mapped" })
    }
    if (Option.isNone(mode)) return []
    const links = Option.isSome(file) ? yield* linksIn(file.value) : []
    const unlinked = yield* UserIds.change(mode.value, links)
    return [
      `From now on, USER_IDS must be ${mode.value}.`,
      ...(unlinked === 0 ? [] : [`Users without an account: ${unlinked}. Nobody can access their data.`])
    ]
  })
