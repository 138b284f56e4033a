import type { Prompt } from "@effect/ai"
import { DateTime, Option, Schema } from "effect"

/** A task as the tools return it. */
export const TaskView = Schema.Struct({
  id: Schema.Number,
  title: Schema.String,
  description: Schema.optionalWith(Schema.NullOr(Schema.String), { default: () => null }),
  completed: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  priority: Schema.optionalWith(Schema.NullOr(Schema.String), { default: () => null }),
  labels: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
  due_date: Schema.optionalWith(Schema.NullOr(Schema.String), { default: () => null }),
  due_at: Schema.optionalWith(Schema.NullOr(Schema.String), { default: () => null }),
  repeat: Schema.optionalWith(Schema.NullOr(Schema.Struct({ text: Schema.String })), { default: () => null })
})
export type TaskView = typeof TaskView.Type

const Failure = Schema.Struct({ status: Schema.Literal("error"), error: Schema.String })
const One = Schema.Struct({ status: Schema.Literal("success"), task: TaskView })
const Each = Schema.Union(One, Schema.Struct({ status: Schema.Literal("success") }), Failure)
const Success = Schema.Struct({
  status: Schema.Literal("success"),
  task: Schema.optional(TaskView),
  tasks: Schema.optional(Schema.Array(TaskView)),
  total: Schema.optional(Schema.Number),
  next_cursor: Schema.optional(Schema.NullOr(Schema.String)),
  results: Schema.optional(Schema.Array(Each))
})
const decodeResult = Schema.decodeUnknownOption(Schema.Union(Success, Failure))

/** The result of one tool call. */
export interface Result {
  readonly error: string | null
  /** The tasks of a list, or the one task. */
  readonly tasks: ReadonlyArray<TaskView>
  readonly total: number
  readonly cursor: string | null
  /** For each task of the call, in order: the task or an error. */
  readonly outcomes: ReadonlyArray<{ readonly task: TaskView | null; readonly error: string | null }>
}

const failed = (error: string): Result => ({ error, tasks: [], total: 0, cursor: null, outcomes: [] })

const toResult = (value: unknown): Result =>
  Option.match(decodeResult(value), {
    onNone: () => failed("The tool gave an answer that I cannot read."),
    onSome: (result) => {
      if (result.status === "error") return failed(result.error)
      const tasks = result.tasks ?? (result.task === undefined ? [] : [result.task])
      const outcomes =
        result.results?.map((each) => ({
          task: "task" in each ? each.task : null,
          error: each.status === "error" ? each.error : null
        })) ?? tasks.map((task) => ({ task, error: null }))
      return { error: null, tasks, total: result.total ?? tasks.length, cursor: result.next_cursor ?? null, outcomes }
    }
  })

export interface Call {
  readonly name: string
  readonly params: unknown
}

/** One message of the user, the calls made for it, and the answer. */
export interface Turn {
  readonly user: string
  readonly calls: ReadonlyArray<Call & { readonly result: Result | null }>
  readonly text: string
}

export interface Transcript {
  /** The present from the instructions, otherwise from the clock. */
  readonly now: DateTime.Utc
  readonly zone: DateTime.TimeZone
  /** Oldest first. The last turn is the one to answer. Its calls are from earlier steps. */
  readonly turns: ReadonlyArray<Turn>
}

export const read = (prompt: Prompt.Prompt, clock: DateTime.Utc): Transcript => {
  const turns: Array<{ user: string; text: string; calls: Array<Call & { id: string }> }> = []
  const results = new Map<string, Result>()
  let system = ""
  for (const message of prompt.content) {
    const turn = turns.at(-1)
    if (message.role === "system") system += `${message.content}\n`
    if (message.role === "user") {
      const user = message.content.map((part) => (part.type === "text" ? part.text : "")).join("\n")
      turns.push({ user, text: "", calls: [] })
    }
    if (message.role === "tool") for (const part of message.content) results.set(part.id, toResult(part.result))
    if (message.role === "assistant" && turn !== undefined) {
      for (const part of message.content) {
        if (part.type === "text") turn.text += `${turn.text === "" ? "" : "\n"}${part.text}`
        if (part.type === "tool-call") turn.calls.push({ id: part.id, name: part.name, params: part.params })
        if (part.type === "tool-result") results.set(part.id, toResult(part.result))
      }
    }
  }
  return {
    ...present(system, clock),
    turns: turns.map((turn) => ({
      ...turn,
      calls: turn.calls.map(({ id, name, params }) => ({ name, params, result: results.get(id) ?? null }))
    }))
  }
}

/** Reads the line of the agent's instructions: `Today is Friday, 2026-01-30, 14:05 in Europe/Berlin.` */
const present = (system: string, clock: DateTime.Utc) => {
  const [, date, time, name = ""] = /Today is \w+, (\d{4}-\d\d-\d\d), (\d\d:\d\d) in (\S+)\.(?:\s|$)/.exec(system) ?? []
  const zone = Option.getOrElse(DateTime.zoneMakeNamed(name), () => DateTime.zoneMakeOffset(0))
  const stated = DateTime.makeZoned(`${date}T${time}Z`, { timeZone: zone, adjustForTimeZone: true })
  return { zone, now: Option.match(stated, { onNone: () => clock, onSome: DateTime.toUtc }) }
}
