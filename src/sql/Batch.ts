import type { Connection, QueryConfig, Submittable } from "pg"
import { encode, types } from "./Types.ts"

type Row = Record<string, unknown>

interface Statement {
  readonly name: string
  readonly text: string
  readonly values: ReadonlyArray<string | null>
}

interface Field {
  readonly name: string
  readonly parse: (text: string) => unknown
}

/**
 * Statements on a connection of `pg` that are sent together and run in order, none after one that fails: one round trip for
 * all. It is a pipeline of the protocol's with one Sync, at its end; what `pg` calls so has one after each statement, so
 * that those after a BEGIN that failed would run without it.
 *
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY
 */
export class Batch implements Submittable {
  readonly #statements: ReadonlyArray<Statement>
  readonly #done: (error: unknown, rows: ReadonlyArray<ReadonlyArray<Row>>) => void
  readonly #rows: ReadonlyArray<Array<Row>>
  #fields: ReadonlyArray<Field> = []
  #at = 0

  /** `done` is given the rows of each, or why one failed. */
  constructor(
    statements: ReadonlyArray<QueryConfig>,
    done: (error: unknown, rows: ReadonlyArray<ReadonlyArray<Row>>) => void
  ) {
    this.#statements = statements.map(({ name = "", text, values = [] }) => ({
      name,
      text,
      values: values.map(encode)
    }))
    this.#done = done
    this.#rows = statements.map(() => [])
  }

  /** Of the statement that is being answered: by these `pg` notes down what its connection has parsed. */
  get name() {
    return this.#statements[this.#at]?.name
  }
  get text() {
    return this.#statements[this.#at]?.text
  }

  submit(connection: Connection) {
    const parsed = Object(Reflect.get(connection, "parsedStatements"))
    connection.stream.cork()
    for (const { name, text, values } of this.#statements) {
      if (name === "" || !Object.hasOwn(parsed, name)) connection.parse({ name, text, types: [] }, true)
      connection.bind({ statement: name, values: [...values] }, true)
      connection.describe({ type: "P" }, true)
      connection.execute({}, true)
    }
    connection.sync()
    connection.stream.uncork()
  }

  handleRowDescription({ fields }: { readonly fields: ReadonlyArray<{ name: string; dataTypeID: number }> }) {
    this.#fields = fields.map(({ dataTypeID, name }) => ({ name, parse: types.getTypeParser(dataTypeID, "text") }))
  }

  handleDataRow({ fields: values }: { readonly fields: ReadonlyArray<string | null> }) {
    const row: Row = {}
    this.#fields.forEach(({ name, parse }, i) => {
      const value = values[i]
      row[name] = value == null ? null : parse(value)
    })
    this.#rows[this.#at]?.push(row)
  }

  handleCommandComplete() {
    this.#at++
  }

  handleEmptyQuery() {
    this.#at++
  }

  handleError(error: unknown) {
    this.#done(error, [])
  }

  handleReadyForQuery() {
    this.#done(undefined, this.#rows)
  }
}
