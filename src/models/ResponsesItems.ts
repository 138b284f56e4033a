import type { Part } from "../runtime/StreamText.ts"
import { count, isFields } from "./Fields.ts"
import * as Thinking from "./Thinking.ts"
import { argumentsText, type Call, isWhole } from "./Wire.ts"

/** One item of an answer's output so far. It stays one item, however often the server sends it. */
export interface Item {
  readonly kind: "message" | "call" | "reasoning" | "other"
  readonly index: number | undefined
  readonly id: string | undefined
  readonly callId: string | undefined
  readonly name: string | undefined
  readonly arguments: string
  /** The texts of a message so far. */
  readonly contents: ReadonlyArray<string>
  readonly thinking: Thinking.Thinking
  readonly hasSpoken: boolean
  /** Reasoning as it came. */
  readonly whole: object | undefined
}

type Items = ReadonlyArray<Item>

export const maxItems = 500

interface Place {
  readonly index: number | undefined
  readonly id: string | undefined
  readonly callId: string | undefined
}

const text = (u: unknown): string | undefined => (typeof u === "string" && u !== "" ? u : undefined)

export const placeIn = (event: { readonly item_id?: unknown; readonly output_index?: unknown }): Place => ({
  index: count(event.output_index),
  id: text(event.item_id),
  callId: undefined
})

const differ = (a: string | undefined, b: string | undefined) => a !== undefined && b !== undefined && a !== b

/**
 * Where an item is, made if there is none. An id tells best; some servers give an item another one in each event, and some
 * the same index to all items.
 */
export const locate = (
  items: Items,
  kind: Item["kind"],
  { callId, id, index }: Place,
  isNew = false
): readonly [items: Items, at: number] => {
  const find = (is: (item: Item) => boolean) => items.findLastIndex((item) => item.kind === kind && is(item))
  const isThere = (item: Item) => index === undefined || item.index === undefined || item.index === index
  const byId = id === undefined ? -1 : find((item) => item.id === id)
  if (byId >= 0) return [items, byId]
  const byCall = callId === undefined ? -1 : find((item) => item.callId === callId && isThere(item))
  if (byCall >= 0) return [items, byCall]
  const byIndex =
    index === undefined
      ? -1
      : find((item) => item.index === index && !differ(item.callId, callId) && !(isNew && differ(item.id, id)))
  if (byIndex >= 0) return [items, byIndex]
  const isNameless = index === undefined && id === undefined && callId === undefined
  const last = isNameless && !isNew ? find(() => true) : -1
  return last >= 0 ? [items, last] : [[...items, { ...empty, kind, index, id, callId }], items.length]
}

const empty: Item = {
  kind: "other",
  index: undefined,
  id: undefined,
  callId: undefined,
  name: undefined,
  arguments: "",
  contents: [],
  thinking: Thinking.start,
  hasSpoken: false,
  whole: undefined
}

const change = (items: Items, at: number, f: (item: Item) => Item): Items => {
  const item = items[at]
  return item === undefined ? items : items.with(at, f(item))
}

/** What a text becomes by a later telling of all of it. What was said already cannot be unsaid. */
export const completed =
  (all: string) =>
  (told: string): string =>
    all.startsWith(told) ? all : told

/** A text of a message becomes what `f` makes of it. The parts say what that adds. */
export const say = (
  items: Items,
  at: number,
  content: number,
  f: (told: string) => string
): readonly [items: Items, parts: ReadonlyArray<Part>] => {
  const item = items[at]
  if (item === undefined || content >= maxItems) return [items, []]
  const told = item.contents[content] ?? ""
  const now = f(told)
  if (now.length <= told.length) return [items, []]
  const [thinking, seen] = Thinking.next(item.thinking, now.slice(told.length))
  const contents = Array.from({ length: Math.max(item.contents.length, content + 1) }, (_, i) =>
    i === content ? now : (item.contents[i] ?? "")
  )
  const after = { ...item, contents, thinking, hasSpoken: item.hasSpoken || seen !== "" }
  return [items.with(at, after), seen === "" ? [] : speech(item, at, seen)]
}

const speech = ({ hasSpoken }: Item, at: number, delta: string): ReadonlyArray<Part> => {
  const id = String(at)
  return hasSpoken
    ? [{ type: "text-delta", id, delta }]
    : [
        { type: "text-start", id },
        { type: "text-delta", id, delta }
      ]
}

/** The ends of all texts, with what was held back of them. */
export const spoken = (items: Items): ReadonlyArray<Part> =>
  items.flatMap((item, at): ReadonlyArray<Part> => {
    const rest = Thinking.end(item.thinking)
    const parts = rest === "" ? [] : speech(item, at, rest)
    return parts.length > 0 || item.hasSpoken ? [...parts, { type: "text-end", id: String(at) }] : []
  })

/** Arguments of a call: a piece more, or all of them. What is told later counts, unless it is less. */
export const argue = (
  items: Items,
  at: number,
  given: unknown,
  isAll: boolean
): readonly [items: Items, size: number] => {
  const piece = argumentsText(given)
  const told = items[at]?.arguments ?? ""
  if (piece === "" || (isAll && isWhole(told) && !isWhole(piece))) return [items, 0]
  return [
    change(items, at, (item) => ({ ...item, arguments: isAll ? piece : told + piece })),
    isAll ? Math.max(0, piece.length - told.length) : piece.length
  ]
}

export const named = (items: Items, at: number, name: string | undefined): Items =>
  name === undefined ? items : change(items, at, (item) => ({ ...item, name: item.name ?? text(name) }))

/** The parts that a whole item adds. */
interface Told {
  readonly items: Items
  readonly parts: ReadonlyArray<Part>
  readonly size: number
  readonly isRefused: boolean
}

interface Given {
  readonly arguments?: unknown
  readonly call_id?: unknown
  readonly content?: unknown
  readonly encrypted_content?: unknown
  readonly id?: unknown
  readonly name?: unknown
  readonly type?: unknown
}

type Event = Parameters<typeof placeIn>[0]

export const added = (items: Items, item: unknown, event: Event) => told(items, item, event, true)

export const told = (items: Items, item: unknown, event: Event, isNew = false): Told | undefined => {
  if (!isFields<keyof Given>(item)) return undefined
  const place = { index: count(event.output_index), id: text(item.id), callId: text(item.call_id) }
  const [located, at] = locate(items, kindOf(item), place, isNew)
  return tell(located, at, item)
}

const kindOf = ({ type }: Given): Item["kind"] => {
  if (type === "message" || type === "reasoning") return type
  return type === "function_call" ? "call" : "other"
}

/** An item of the snapshot at the answer's end. `known` are those that were told of in it already. */
export const recalled = (items: Items, item: unknown, position: number, known: Set<number>): Told | undefined => {
  if (!isFields<keyof Given>(item)) return undefined
  const kind = kindOf(item)
  const id = text(item.id)
  const callId = text(item.call_id)
  const find = (is: (item: Item) => boolean) =>
    items.findIndex((item, at) => item.kind === kind && !known.has(at) && is(item))
  const found = [
    id === undefined ? -1 : find((told) => told.id === id),
    callId === undefined ? -1 : find((told) => told.callId === callId),
    find((told) => told.index === position && fits(told, item)),
    find((told) => fits(told, item))
  ].find((at) => at >= 0)
  const at = found ?? items.length
  known.add(at)
  const all = found === undefined ? [...items, { ...empty, kind, index: position, id, callId }] : items
  return tell(all, at, item)
}

/** Whether an item of the snapshot may be one that was told of. */
const fits = (told: Item, item: Given): boolean => {
  if (told.kind === "call") {
    const all = argumentsText(item.arguments)
    return (
      !differ(told.callId, text(item.call_id)) &&
      !differ(told.name, text(item.name)) &&
      (told.arguments === "" || all === "" || all === told.arguments)
    )
  }
  if (told.kind !== "message") return true
  const said = told.contents.join("")
  const all = contentsOf(item).join("")
  return all.startsWith(said) || said.startsWith(all)
}

const tell = (items: Items, at: number, item: Given): Told => {
  const kept = change(items, at, (before) => ({
    ...before,
    id: before.id ?? text(item.id),
    callId: before.callId ?? text(item.call_id),
    name: before.name ?? text(item.name),
    // Without its content only its author could name it, and he has kept nothing.
    whole: typeof item.encrypted_content === "string" ? item : before.whole
  }))
  if (item.type === "function_call") {
    const [argued, size] = argue(kept, at, item.arguments, true)
    return { items: argued, parts: [], size, isRefused: false }
  }
  if (item.type !== "message") return { items: kept, parts: [], size: 0, isRefused: false }
  const parts: Array<Part> = []
  let after = kept
  for (const [content, all] of contentsOf(item).entries()) {
    const [changed, more] = say(after, at, content, completed(all))
    after = changed
    parts.push(...more)
  }
  const contents: ReadonlyArray<unknown> = Array.isArray(item.content) ? item.content : []
  const isRefused = contents.some((content) => isFields<"type">(content) && content.type === "refusal")
  return { items: after, parts, size: 0, isRefused }
}

const contentsOf = ({ content }: Given): ReadonlyArray<string> => {
  if (typeof content === "string") return [content]
  return Array.isArray(content) ? content.map((part) => contentText(part) ?? "") : []
}

export const contentText = (part: unknown): string | undefined =>
  isFields<"refusal" | "text">(part) ? (text(part.text) ?? text(part.refusal)) : undefined

/** The calls, in the order of the output. */
export const callsOf = (items: Items): ReadonlyArray<Call> =>
  items
    .filter(({ kind }) => kind === "call")
    .toSorted((a, b) => (a.index ?? items.length) - (b.index ?? items.length))
    .map((item) => ({ id: item.callId, name: item.name, arguments: item.arguments }))
