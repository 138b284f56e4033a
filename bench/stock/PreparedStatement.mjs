import { Effect } from "effect"

/**
 * @param {import("@effect/sql").SqlClient.SqlClient} sql
 * @param {(given: any) => import("@effect/sql").Statement.Statement<unknown>} template
 */
export const make = (sql, template) => {
  /** @param {Record<string, any>} values */
  const run = (values) =>
    Effect.suspend(() => template(new Proxy({}, { get: (_, name) => sql`${values[String(name)]}` })))
  return Object.assign(run, { last: run })
}
