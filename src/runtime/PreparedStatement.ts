import type { SqlClient, SqlError } from "@effect/sql"
import { Statement } from "@effect/sql"
import { Effect, Option } from "effect"
import * as Span from "./Span.ts"
import * as Client from "./SqlClient.ts"

/** A statement; its parameters are sent by name. */
export interface Prepared<Values> {
  (values: Values): Effect.Effect<ReadonlyArray<unknown>, SqlError.SqlError>
  /**
   * Runs the statement as the last one of its transaction, which is committed in the same round trip. The transaction
   * cannot be rolled back because of the statement's rows, so the statement itself must fail instead. If it is interrupted,
   * it may have been committed anyway. A statement after it is refused. Within an inner transaction, and on another
   * library's client, it is an ordinary statement.
   */
  readonly last: (values: Values) => Effect.Effect<ReadonlyArray<unknown>, SqlError.SqlError>
}

/** A fragment for each parameter of a template. */
export type Given<Name extends PropertyKey> = { readonly [N in Name]: Statement.Fragment }

/**
 * A statement whose text is compiled once, for frequent use. Stands for a template of `SqlClient`: compiling one takes
 * longer than sending it. The template gets a fragment for each parameter; all else in it is fixed.
 *
 * ```ts
 * const rename = PreparedStatement.make<{ id: TaskId; title: string }>(
 *   sql,
 *   ({ id, title }) => sql`UPDATE tasks SET title = ${title} WHERE id = ${id}`
 * )
 * rename({ id, title: "Buy milk" })
 * ```
 *
 * It takes part in the fiber's transaction, has a span if there is a tracer, and applies a `Statement.Transformer`, like
 * every statement of `sql`, which may be any client.
 *
 * Saves: `npm run bench -- --only json,tool --servers taskchat,stock-PreparedStatement`.
 * Delete when: that row shows less than 5 %.
 */
export const make = <Values extends Readonly<Record<string, unknown>>>(
  sql: SqlClient.SqlClient,
  template: (given: Given<keyof Values>) => Statement.Statement<unknown>
): Prepared<Values> => {
  const [text, parameters] = template(
    // Safe: the proxy has every parameter.
    new Proxy({}, { get: (_, name) => sql`${new Parameter(String(name))}` }) as Given<keyof Values>
  ).compile()
  const engine = Client.engineOf(sql)
  const span = Span.useSpan("sql.execute", {
    kind: "client",
    attributes: {
      ...Object.fromEntries(engine?.spanAttributes ?? []),
      "db.operation.name": "execute",
      "db.query.text": text
    }
  })
  const run = (isLast: boolean) => (values: Values) =>
    Effect.withFiberRuntime<ReadonlyArray<unknown>, SqlError.SqlError>((fiber) => {
      const inOrder = parameters.map((value) => (value instanceof Parameter ? values[value.name] : value))
      const isTransformed = Option.isSome(fiber.getFiberRef(Statement.currentTransformer))
      if (engine === undefined || isTransformed) return sql.unsafe(text, inOrder)
      const [connection, depth] = Client.transactionOf(fiber.currentContext) ?? [engine.connection, 0]
      const execute =
        isLast && depth === 0 && Client.isTransaction(connection) ? connection.executeLast : connection.execute
      return span(execute(text, inOrder, undefined))
    })
  return Object.assign(run(false), { last: run(true) })
}

class Parameter {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}
