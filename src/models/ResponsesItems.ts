import type { Part } from "../runtime/StreamText.ts"
import { count, isFields } from "./Fields.ts"
import * as Thinking from "./Thinking.ts"
import { argumentsText, type Call, isWhole } from "./Wire.ts"

/** The state of one output item. A server may send the same item several times. */
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
  readonly hasText: boolean
  /** The reasoning item, unchanged. */
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
 * Finds an item or adds it. It matches the id first. Some servers change the id of an item in each event, and some send
 * the same index for all items.
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
  hasText: false,
  whole: undefined
}

const change = (items: Items, at: number, f: (item: Item) => Item): Items => {
  const item = items[at]
  return item === undefined ? items : items.with(at, f(item))
}

/** Replaces a text by its complete form, unless that contradicts the text that was already sent. */
export const completed =
  (all: string) =>
  (sent: string): string =>
    all.startsWith(sent) ? all : sent

/** Changes a text of a message with `f`. `parts` contains the added text. */
export const setText = (
  items: Items,
  at: number,
  content: number,
  f: (sent: string) => string
): readonly [items: Items, parts: ReadonlyArray<Part>] => {
  const item = items[at]
  if (item === undefined || content >= maxItems) return [items, []]
  const sent = item.contents[content] ?? ""
  const now = f(sent)
  if (now.length <= sent.length) return [items, []]
  const [thinking, seen] = Thinking.next(item.thinking, now.slice(sent.length))
  const contents = Array.from({ length: Math.max(item.contents.length, content + 1) }, (_, i) =>
    i === content ? now : (item.contents[i] ?? "")
  )
  const after = { ...item, contents, thinking, hasText: item.hasText || seen !== "" }
  return [items.with(at, after), seen === "" ? [] : textParts(item, at, seen)]
}

const textParts = ({ hasText }: Item, at: number, delta: string): ReadonlyArray<Part> => {
  const id = String(at)
  return hasText
    ? [{ type: "text-delta", id, delta }]
    : [
        { type: "text-start", id },
        { type: "text-delta", id, delta }
      ]
}

/** The ends of all texts, with the text that `Thinking` held back. */
export const textEnds = (items: Items): ReadonlyArray<Part> =>
  items.flatMap((item, at): ReadonlyArray<Part> => {
    const rest = Thinking.end(item.thinking)
    const parts = rest === "" ? [] : textParts(item, at, rest)
    return parts.length > 0 || item.hasText ? [...parts, { type: "text-end", id: String(at) }] : []
  })

/** Appends a piece to the arguments of a call, or replaces them by all arguments unless these are incomplete. */
export const setArguments = (
  items: Items,
  at: number,
  given: unknown,
  isAll: boolean
): readonly [items: Items, size: number] => {
  const piece = argumentsText(given)
  const before = items[at]?.arguments ?? ""
  if (piece === "" || (isAll && isWhole(before) && !isWhole(piece))) return [items, 0]
  return [
    change(items, at, (item) => ({ ...item, arguments: isAll ? piece : before + piece })),
    isAll ? Math.max(0, piece.length - before.length) : piece.length
  ]
}

export const setName = (items: Items, at: number, name: string | undefined): Items =>
  name === undefined ? items : change(items, at, (item) => ({ ...item, name: item.name ?? text(name) }))

/** The result of merging a whole item. */
interface Merged {
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

export const added = (items: Items, item: unknown, event: Event) => updated(items, item, event, true)

export const updated = (items: Items, item: unknown, event: Event, isNew = false): Merged | undefined => {
  if (!isFields<keyof Given>(item)) return undefined
  const place = { index: count(event.output_index), id: text(item.id), callId: text(item.call_id) }
  const [located, at] = locate(items, kindOf(item), place, isNew)
  return merge(located, at, item)
}

const kindOf = ({ type }: Given): Item["kind"] => {
  if (type === "message" || type === "reasoning") return type
  return type === "function_call" ? "call" : "other"
}

/** Merges an item of the snapshot at the end of the answer. `merged` are the positions of items merged so far. */
export const fromSnapshot = (
  items: Items,
  item: unknown,
  position: number,
  merged: Set<number>
): Merged | undefined => {
  if (!isFields<keyof Given>(item)) return undefined
  const kind = kindOf(item)
  const id = text(item.id)
  const callId = text(item.call_id)
  const find = (is: (item: Item) => boolean) =>
    items.findIndex((item, at) => item.kind === kind && !merged.has(at) && is(item))
  const found = [
    id === undefined ? -1 : find((before) => before.id === id),
    callId === undefined ? -1 : find((before) => before.callId === callId),
    find((before) => before.index === position && fits(before, item)),
    find((before) => fits(before, item))
  ].find((at) => at >= 0)
  const at = found ?? items.length
  merged.add(at)
  const all = found === undefined ? [...items, { ...empty, kind, index: position, id, callId }] : items
  return merge(all, at, item)
}

/** True if an item of the snapshot may be the item `before`. */
const fits = (before: Item, item: Given): boolean => {
  if (before.kind === "call") {
    const all = argumentsText(item.arguments)
    return (
      !differ(before.callId, text(item.call_id)) &&
      !differ(before.name, text(item.name)) &&
      (before.arguments === "" || all === "" || all === before.arguments)
    )
  }
  if (before.kind !== "message") return true
  const sent = before.contents.join("")
  const all = contentsOf(item).join("")
  return all.startsWith(sent) || sent.startsWith(all)
}

const merge = (items: Items, at: number, item: Given): Merged => {
  const kept = change(items, at, (before) => ({
    ...before,
    id: before.id ?? text(item.id),
    callId: before.callId ?? text(item.call_id),
    name: before.name ?? text(item.name),
    // Reasoning without its content is useless, because the provider has not stored it.
    whole: typeof item.encrypted_content === "string" ? item : before.whole
  }))
  if (item.type === "function_call") {
    const [argued, size] = setArguments(kept, at, item.arguments, true)
    return { items: argued, parts: [], size, isRefused: false }
  }
  if (item.type !== "message") return { items: kept, parts: [], size: 0, isRefused: false }
  const parts: Array<Part> = []
  let after = kept
  for (const [content, all] of contentsOf(item).entries()) {
    const [changed, more] = setText(after, at, content, completed(all))
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
