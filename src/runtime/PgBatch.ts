import type { Connection, QueryConfig, Submittable } from "pg"
import { types } from "./PgTypes.ts"

type Row = Record<string, unknown>

interface Field {
  readonly name: string
  readonly parse: (text: string) => unknown
}

/**
 * Sends statements together on a connection of `pg`, in one round trip. They run in order, none after one that fails. It is
 * a pipeline of the protocol with one Sync at its end; `pg`'s own pipeline has one after each statement, so that those
 * after a failed BEGIN would run outside of it. Values are text, as `PgTypes.encode` makes it. Stands for separate queries
 * of `pg`.
 * Saves: two round trips of a tool call, `npm run bench -- --only tool --servers taskchat,stock-PgClient`.
 * Delete when: `pg` can send several statements with one Sync.
 *
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY
 */
export class Batch implements Submittable {
  /** Called with the rows of each statement, or with a failure; `pg` wraps it for its timeout. */
  callback: (error: unknown, rows: ReadonlyArray<ReadonlyArray<Row>>) => void
  readonly #statements: ReadonlyArray<QueryConfig>
  readonly #rows: ReadonlyArray<Array<Row>>
  #fields: ReadonlyArray<Field> = []
  #at = 0
  #unreadable: unknown

  constructor(statements: ReadonlyArray<QueryConfig>, callback: Batch["callback"]) {
    this.#statements = statements
    this.#rows = statements.map(() => [])
    this.callback = callback
  }

  /** The number of statements that ran, including a failed one. */
  get done() {
    return this.#at
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
    for (const { name = "", text, values = [] } of this.#statements) {
      if (name === "" || !Object.hasOwn(parsed, name)) connection.parse({ name, text, types: [] }, true)
      connection.bind({ statement: name, values }, true)
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
    try {
      this.#fields.forEach(({ name, parse }, i) => {
        const value = values[i]
        row[name] = value == null ? null : parse(value)
      })
    } catch (error) {
      this.#unreadable ??= error
    }
    this.#rows[this.#at]?.push(row)
  }

  handleCommandComplete() {
    this.#at++
  }

  handleEmptyQuery() {
    this.#at++
  }

  handleCopyInResponse(connection: { readonly sendCopyFail: (reason: string) => void }) {
    connection.sendCopyFail("There is nothing to copy from")
  }

  handleCopyData() {}

  handleError(error: unknown) {
    this.callback(error, this.#rows)
  }

  handleReadyForQuery() {
    this.callback(this.#unreadable, this.#rows)
  }
}
