import * as Fs from "node:fs/promises"
import { createRequire } from "node:module"
import type { SqlClient } from "@effect/sql"
import { PGlite } from "@electric-sql/pglite"
import { Effect, Layer, Redacted, type Scope } from "effect"
import Pg from "pg"
import type { Signals } from "../../src/sql/Signals.ts"
import * as Sql from "../../src/sql/Sql.ts"

const server = process.env["DATABASE_URL"]

/** True if the tests run on a PostgreSQL server (`DATABASE_URL`), not on the embedded one. */
export const isRealPostgres = server !== undefined && server !== ""

const administer = (statement: string) =>
  Effect.promise(async () => {
    const client = new Pg.Client({ connectionString: server })
    await client.connect()
    await client.query(statement).finally(() => client.end())
  })

/** A new empty database on the server, dropped with its connections when the scope closes. */
export const freshUrl: Effect.Effect<Redacted.Redacted, never, Scope.Scope> = Effect.gen(function* () {
  const name = `taskchat_test_${crypto.randomUUID().replaceAll("-", "")}`
  yield* Effect.acquireRelease(
    // The other template may be in use by a connection.
    administer(`CREATE DATABASE ${name} TEMPLATE template0`),
    () => administer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
  )
  const url = new URL(server ?? "")
  url.pathname = `/${name}`
  return Redacted.make(url.href)
})

/** The connections of a node to the migrated database at `url`. */
export const layerOf = (url: Redacted.Redacted): Layer.Layer<SqlClient.SqlClient | Signals> =>
  Layer.orDie(Sql.layer({ url, poolSize: 5 }))

const cache = new URL("../../node_modules/.cache/taskchat/", import.meta.url)

/** A new database takes PGlite seconds to create and a fraction of one to load, so it is created once per version. */
const image = Effect.promise(async () => {
  const pglite = createRequire(import.meta.url).resolve("@electric-sql/pglite")
  const { mtimeMs, size } = await Fs.stat(pglite)
  const file = new URL(`pglite-${size}-${Math.trunc(mtimeMs)}.tar`, cache)
  const cached = await Fs.readFile(file).catch(() => undefined)
  if (cached !== undefined) return new Blob([cached])
  const db = await PGlite.create("memory://")
  const dump = await db.dumpDataDir("none")
  await db.close()
  await Fs.mkdir(cache, { recursive: true })
  const partial = new URL(`${crypto.randomUUID()}.partial`, cache)
  await Fs.writeFile(partial, Buffer.from(await dump.arrayBuffer()))
  await Fs.rename(partial, file)
  return dump
})

/** A fresh migrated database in memory, for each use. */
export const layerEmbedded: Layer.Layer<SqlClient.SqlClient | Signals> = Layer.unwrapEffect(
  Effect.map(image, (image) => Layer.orDie(Sql.layerEmbedded({ memory: true, image })))
)

/** A fresh migrated database for each use. */
export const layer: Layer.Layer<SqlClient.SqlClient | Signals> = isRealPostgres
  ? Layer.unwrapScoped(Effect.map(freshUrl, layerOf))
  : layerEmbedded
