import { DateTime, Either, Encoding, ParseResult, Schema } from "effect"
import { LocalDate, Priority, type Task } from "./Task.ts"

/** The order of a list of tasks. With equal keys, and in every other list, the newest comes first. */
export const Order = Schema.Literal("created", "due", "priority")
export type Order = typeof Order.Type

/**
 * The end of a page: the sort key of its last row. It is a value, so the next page stays right while rows are added and
 * removed. Opaque to clients.
 */
export interface Cursor {
  readonly time: DateTime.Utc
  readonly id: number
  /** The sort key before the time; empty if the list is sorted by time only. */
  readonly key?: Due | Rank
}

interface Due {
  readonly order: "due"
  readonly dueDate: string | null
  readonly dueAt: DateTime.Utc | null
}

interface Rank {
  readonly order: "priority"
  /** 3 for high, 0 for none. */
  readonly rank: number
}

/** The order that a cursor belongs to. */
export const orderOf = ({ key }: Cursor): Order => key?.order ?? "created"

/** The cursor of a task in a list of that order. */
export const cursorTo = ({ createdAt, dueAt, dueDate, id, priority }: Task, order: Order): Cursor => {
  const newest = { time: createdAt, id }
  if (order === "created") return newest
  if (order === "due") return { ...newest, key: { order, dueDate, dueAt } }
  return { ...newest, key: { order, rank: priority === null ? 0 : Priority.literals.indexOf(priority) + 1 } }
}

/** Makes a page from rows that were read with one extra row. The extra row means that there is a next page. */
export const pageOf = <A>(
  rows: ReadonlyArray<A>,
  limit: number,
  cursorOf: (last: A) => Cursor
): { readonly page: ReadonlyArray<A>; readonly nextCursor: Cursor | null } => {
  const page = rows.slice(0, limit)
  const last = rows.length > limit ? page.at(-1) : undefined
  return { page, nextCursor: last === undefined ? null : cursorOf(last) }
}

/** The sort key after which a page begins, for SQL. Without a cursor it sorts before all rows. */
export const startOf = (cursor: Cursor | null | undefined) => {
  if (cursor == null) {
    const { MAX_SAFE_INTEGER: id } = Number
    return { time: "infinity", id, dueDate: "-infinity", dueAt: "-infinity", rank: Priority.literals.length + 1 }
  }
  const { id, key, time } = cursor
  return {
    time: DateTime.formatIso(time),
    id,
    dueDate: (key?.order === "due" ? key.dueDate : null) ?? "infinity",
    dueAt: key?.order === "due" && key.dueAt !== null ? DateTime.formatIso(key.dueAt) : "infinity",
    rank: key?.order === "priority" ? key.rank : 0
  }
}

// Times go up to the year 5138, due dates from 1 to 9999: the database accepts these too.
const form =
  /^([a-z_]+)\.([0-9]{1,14})\.([0-9]{1,16})(?:\.priority\.([0-3])|\.due\.(\d{4}-\d\d-\d\d)?\.(-?\d{1,15})?)?$/

const isDate = Schema.is(LocalDate)

const first = -62_135_596_800_000
const last = 253_402_300_799_999

const parse = (kind: string, text: string): Cursor | undefined => {
  const decoded = Either.getOrElse(Encoding.decodeBase64UrlString(text), () => "")
  const [, given, millis, digits, rank, day, instant] = form.exec(decoded) ?? []
  const id = Number(digits)
  if (given !== kind || !Number.isSafeInteger(id)) return undefined
  const newest = { time: DateTime.unsafeMake(Number(millis)), id }
  if (rank !== undefined) return { ...newest, key: { order: "priority", rank: Number(rank) } }
  if (!decoded.includes(".due.")) return newest
  if (day !== undefined && !isDate(day)) return undefined
  if (instant !== undefined && !(Number(instant) >= first && Number(instant) <= last)) return undefined
  const dueAt = instant === undefined ? null : DateTime.unsafeMake(Number(instant))
  return { ...newest, key: { order: "due", dueDate: day ?? null, dueAt } }
}

const write = (kind: string, { id, key, time }: Cursor) => {
  const newest = `${kind}.${time.epochMillis}.${id}`
  if (key === undefined) return Encoding.encodeBase64Url(newest)
  const before = key.order === "due" ? `${key.dueDate ?? ""}.${key.dueAt?.epochMillis ?? ""}` : key.rank
  return Encoding.encodeBase64Url(`${newest}.${key.order}.${before}`)
}
const example = (kind: string) => write(kind, { time: DateTime.unsafeMake("2026-01-31T12:00:00.000Z"), id: 7 })

/** The cursor that clients receive. It is invalid for another kind of list. */
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

/** For lists of tasks and of their changes. */
export const Cursor = cursorOf("task")
