import type { SqlClient, SqlError } from "@effect/sql"
import { Statement } from "@effect/sql"
import { Effect, FiberRef } from "effect"
import * as Client from "./SqlClient.ts"

/** A statement; its parameters are sent by name. */
export interface Prepared<Values> {
  (values: Values): Effect.Effect<ReadonlyArray<unknown>, SqlError.SqlError>
  /**
   * The statement as the last one of the transaction it is in, which is committed in the same round trip: nothing can be
   * told of its rows that would roll it back, so it has to fail if it may not be. One that is interrupted may have been
   * committed all the same, and a statement after it is refused. Within an inner transaction, and where somebody traces, it
   * is as any.
   */
  readonly last: (values: Values) => Effect.Effect<ReadonlyArray<unknown>, SqlError.SqlError>
}

/** What a template gets for each parameter. */
export type Given<Name extends PropertyKey> = { readonly [N in Name]: Statement.Fragment }

/**
 * A statement whose text is made once, for where it runs often: compiling one from its template anew takes longer than
 * sending it. The template gets a fragment for each parameter; whatever else is in it stays as it is now.
 *
 * ```ts
 * const rename = PreparedStatement.make<{ id: TaskId; title: string }>(
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
): Prepared<Values> => {
  const [text, parameters] = template(
    // Safe: whichever parameter is asked for, it is there.
    new Proxy({}, { get: (_, name) => sql`${new Parameter(String(name))}` }) as Given<keyof Values>
  ).compile()
  const run = (executeOf: typeof Client.executeOf) => (values: Values) =>
    Effect.withFiberRuntime<ReadonlyArray<unknown>, SqlError.SqlError>((fiber) => {
      const inOrder = parameters.map((value) => (value instanceof Parameter ? values[value.name] : value))
      const isSeen =
        fiber.getFiberRef(FiberRef.currentTracerEnabled) ||
        fiber.getFiberRef(Statement.currentTransformer)._tag === "Some"
      const execute = isSeen ? undefined : executeOf(sql, fiber)
      return execute === undefined ? sql.unsafe(text, inOrder) : execute(text, inOrder, undefined)
    })
  return Object.assign(run(Client.executeOf), { last: run(Client.executeLastOf) })
}

class Parameter {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}
