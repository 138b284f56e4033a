import type { SqlClient, SqlError } from "@effect/sql"
import { Statement } from "@effect/sql"
import { Effect, FiberRef } from "effect"
import * as Client from "./Client.ts"

/** What a template gets for each parameter. */
export type Given<Name extends PropertyKey> = { readonly [N in Name]: Statement.Fragment }

/**
 * A statement whose text is made once, for where it runs often: compiling one from its template anew takes longer than
 * sending it. The template gets a fragment for each parameter; whatever else is in it stays as it is now.
 *
 * ```ts
 * const rename = Prepared.make<{ id: TaskId; title: string }>(
 *   sql,
 *   ({ id, title }) => sql`UPDATE tasks SET title = ${title} WHERE id = ${id}`
 * )
 * rename({ id, title: "Buy milk" })
 * ```
 *
 * It takes part in the fiber's transaction, has its span where somebody traces and passes a `Statement.Transformer`, as
 * every statement of `sql`, which may be any client.
 */
export const make = <Values extends Readonly<Record<string, unknown>>>(
  sql: SqlClient.SqlClient,
  template: (given: Given<keyof Values>) => Statement.Statement<unknown>
) => {
  const [text, parameters] = template(
    // Safe: whichever parameter is asked for, it is there.
    new Proxy({}, { get: (_, name) => sql`${new Parameter(String(name))}` }) as Given<keyof Values>
  ).compile()
  return (values: Values): Effect.Effect<ReadonlyArray<unknown>, SqlError.SqlError> =>
    Effect.withFiberRuntime((fiber) => {
      const inOrder = parameters.map((value) => (value instanceof Parameter ? values[value.name] : value))
      const isSeen =
        fiber.getFiberRef(FiberRef.currentTracerEnabled) ||
        fiber.getFiberRef(Statement.currentTransformer)._tag === "Some"
      const connection = isSeen ? undefined : Client.connectionOf(sql, fiber)
      return connection === undefined ? sql.unsafe(text, inOrder) : connection.execute(text, inOrder, undefined)
    })
}

class Parameter {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}
