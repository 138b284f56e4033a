import * as Client from "@effect/sql-pg/PgClient"
import { Effect, Layer } from "effect"
import Pg from "pg"

/** @type {typeof import("../../src/runtime/PgClient.ts").layer} */
export const layer = (config) =>
  Client.layerFromPool({
    acquire: Effect.acquireRelease(
      Effect.sync(() => {
        const pool = new Pg.Pool(config)
        pool.on("error", () => {})
        pool.on("connect", (connected) => void connected.on("error", () => {}))
        return pool
      }),
      (pool) => Effect.promise(() => pool.end())
    )
  }).pipe(Layer.orDie)
