import { DateTime, Either, Encoding, ParseResult, Schema } from "effect"

/**
 * Where a page of a list ended: the sort key of its last row, by value, so that the next page stays right while rows are
 * added and removed. Opaque to clients.
 */
export interface Cursor {
  readonly time: DateTime.Utc
  readonly id: number
}

/**
 * A page of rows that were read one further than it reaches: whether there is a next page is whether there is one more.
 */
export const pageOf = <A>(
  rows: ReadonlyArray<A>,
  limit: number,
  cursorOf: (last: A) => Cursor
): { readonly page: ReadonlyArray<A>; readonly nextCursor: Cursor | null } => {
  const page = rows.slice(0, limit)
  const last = rows.length > limit ? page.at(-1) : undefined
  return { page, nextCursor: last === undefined ? null : cursorOf(last) }
}

/** The sort key after which a page begins, in lists that are newest first. Without a cursor it is before all rows. */
export const startOf = (cursor: Cursor | null | undefined) => ({
  time: cursor ? DateTime.formatIso(cursor.time) : "infinity",
  id: cursor?.id ?? Number.MAX_SAFE_INTEGER
})

// Up to the year 5138: what the database takes, too.
const form = /^([a-z_]+)\.([0-9]{1,14})\.([0-9]{1,16})$/

const parse = (kind: string, text: string): Cursor | undefined => {
  const decoded = Either.getOrElse(Encoding.decodeBase64UrlString(text), () => "")
  const [, given, millis, digits] = form.exec(decoded) ?? []
  const id = Number(digits)
  return given === kind && Number.isSafeInteger(id) ? { time: DateTime.unsafeMake(Number(millis)), id } : undefined
}

const write = (kind: string, { id, time }: Cursor) => Encoding.encodeBase64Url(`${kind}.${time.epochMillis}.${id}`)

const example = (kind: string) => write(kind, { time: DateTime.unsafeMake("2026-01-31T12:00:00.000Z"), id: 7 })

/** A cursor as clients carry it. One list's means nothing to another of a different kind. */
export const cursorOf = (kind: "conversation" | "task") =>
  Schema.String.pipe(
    Schema.annotations({ jsonSchema: { type: "string", examples: [example(kind)] } }),
    Schema.transformOrFail(
      Schema.declare((u: unknown): u is Cursor => typeof u === "object" && u !== null && "time" in u && "id" in u),
      {
        strict: true,
        decode: (text, _, ast) => {
          const cursor = parse(kind, text)
          return cursor === undefined
            ? ParseResult.fail(new ParseResult.Type(ast, text, "must be the next_cursor of an earlier page"))
            : ParseResult.succeed(cursor)
        },
        encode: (cursor) => ParseResult.succeed(write(kind, cursor))
      }
    ),
    Schema.annotations({
      identifier: kind === "task" ? "TaskCursor" : "ConversationCursor",
      description: "Opaque: the `next_cursor` of an earlier page"
    })
  )

/** Of lists of tasks and of their changes. */
export const Cursor = cursorOf("task")
