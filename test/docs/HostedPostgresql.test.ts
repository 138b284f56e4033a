import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Option, Redacted } from "effect"
import * as Settings from "../../src/Config.ts"
import * as DatabaseUrl from "../../src/sql/DatabaseUrl.ts"
import { documentOf } from "../support/Documents.ts"

const urls = documentOf("docs/hosted-postgresql.md")
  .blocks.filter(({ language }) => language === "text")
  .map(({ text }) => text.trim())

describe("docs/hosted-postgresql.md", () => {
  it.effect.each(urls)("%s is a DATABASE_URL", (url) =>
    Effect.gen(function* () {
      const { database } = yield* Settings.settings
      assert.deepStrictEqual(Option.map(database.url, Redacted.value), Option.some(url))
      const { host, password, user } = DatabaseUrl.read(url.replace(/&sslrootcert=[^&]*/, ""))
      assert.match(String(host), /^(\/|[\w.-]+$)/)
      assert.strictEqual(password, "password")
      assert.match(String(user), /^(user|postgres\.project)$/)
    }).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["DATABASE_URL", url]]))))
  )

  it("has a URL for each service", () => {
    assert.lengthOf(urls, 5)
  })
})
