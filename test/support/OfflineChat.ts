import { LanguageModel, Prompt } from "@effect/ai"
import { Chunk, DateTime, Effect, Layer, Schema, Stream } from "effect"
import { resolve } from "../../src/dates/Dates.ts"
import { UserId } from "../../src/domain/Id.ts"
import { Cause } from "../../src/domain/Task.ts"
import * as Offline from "../../src/models/Offline.ts"
import { TaskTools, ToolContext } from "../../src/services/tasks/TaskTools.ts"

export interface FakeTask {
  readonly id: number
  readonly title: string
  readonly description: string | null
  readonly completed: boolean
  readonly priority: string | null
  readonly labels: ReadonlyArray<string>
  readonly due_date: string | null
  readonly due_at: string | null
  readonly repeat?: { readonly text: string } | null
}

export interface Call {
  readonly id: string
  readonly name: string
  readonly params: Record<string, unknown>
}

/** A Friday, 14:05 in Berlin. */
const now = DateTime.unsafeMake("2026-01-30T13:05:00Z")
const zone = DateTime.zoneUnsafeMakeNamed("Europe/Berlin")
const system = "You are the assistant of a task list.\nToday is Friday, 2026-01-30, 14:05 in Europe/Berlin."

const schemas = TaskTools.tools
const decode = {
  list: Schema.decodeUnknownSync(schemas.list_tasks.parametersSchema),
  create: Schema.decodeUnknownSync(schemas.create_task.parametersSchema),
  createMany: Schema.decodeUnknownSync(schemas.create_tasks.parametersSchema),
  id: Schema.decodeUnknownSync(schemas.get_task.parametersSchema),
  update: Schema.decodeUnknownSync(schemas.update_task.parametersSchema),
  mark: Schema.decodeUnknownSync(schemas.mark_complete.parametersSchema)
}

/** An open task without a title and other details. */
export const blank = {
  title: "",
  description: null,
  completed: false,
  priority: null,
  labels: [],
  due_date: null,
  due_at: null
}

/** A fake of the tools on a Map, with `pageSize` tasks per page. */
const makeTools = (pageSize: number, seeds: ReadonlyArray<Partial<FakeTask>>) => {
  const tasks = new Map<number, FakeTask>()
  let lastId = 0
  for (const seed of seeds) {
    const id = ++lastId
    tasks.set(id, { ...blank, ...seed, id })
  }
  const error = (message: string) => ({ status: "error", error: message })
  const due = (words: string | null | undefined) => {
    if (words == null) return { due_date: null, due_at: null }
    const found = resolve(words, now, zone)
    if (found._tag === "Left") return null
    const { dueAt, dueDate } = found.right
    return { due_date: dueDate, due_at: dueAt === null ? null : DateTime.formatIso(dueAt) }
  }
  const create = (input: ReturnType<typeof decode.create>) => {
    const when = due(input.due)
    if (when === null) return error("No such date. Use a date such as 2026-01-31.")
    if (input.title.length > 200) return error("title: must have 1 to 200 characters")
    const { description = null, labels, priority = null, repeat, title } = input
    const task: FakeTask = {
      ...blank,
      ...(repeat != null && { repeat: { text: repeat } }),
      ...when,
      description,
      id: ++lastId,
      labels: labels ?? [],
      priority,
      title
    }
    tasks.set(task.id, task)
    return { status: "success", task }
  }
  const set = (taskId: number, f: (task: FakeTask) => FakeTask) => {
    const task = tasks.get(taskId)
    if (task === undefined) return error("Task not found")
    tasks.set(taskId, f(task))
    return { status: "success", task: f(task) }
  }
  const update = ({ clear, due: words, repeat, task_id, ...fields }: ReturnType<typeof decode.update>) => {
    const when = words == null ? {} : due(words)
    if (when === null) return error("No such date. Use a date such as 2026-01-31.")
    const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null))
    const cleared = (clear ?? []).map((field) =>
      field === "labels" ? { labels: [] } : field === "due" ? { due_date: null, due_at: null } : { [field]: null }
    )
    return set(task_id, (task) =>
      Object.assign({}, task, given, when, repeat == null ? {} : { repeat: { text: repeat } }, ...cleared)
    )
  }
  const list = (input: ReturnType<typeof decode.list>) => {
    const query = input.query?.toLowerCase() ?? ""
    const all = [...tasks.values()]
      .reverse()
      .filter(
        (task) =>
          (input.status === "all" || task.completed === (input.status === "completed")) &&
          (input.priority == null || task.priority === input.priority) &&
          (input.label == null || task.labels.includes(input.label)) &&
          (input.due == null || task.due_date === null) &&
          (input.due_before == null || (task.due_date !== null && task.due_date <= input.due_before)) &&
          (input.due_after == null || (task.due_date !== null && task.due_date >= input.due_after)) &&
          `${task.title}\n${task.description ?? ""}`.toLowerCase().includes(query)
      )
    const from = Number(input.cursor ?? 0)
    const to = from + pageSize
    return {
      status: "success",
      tasks: all.slice(from, to),
      total: all.length,
      next_cursor: to < all.length ? String(to) : null
    }
  }
  const run = (name: string, params: unknown): unknown => {
    switch (name) {
      case "list_tasks":
        return list(decode.list(params))
      case "create_task":
        return create(decode.create(params))
      case "create_tasks":
        return { status: "success", results: decode.createMany(params).tasks.map(create) }
      case "get_task":
        return set(decode.id(params).task_id, (task) => task)
      case "update_task":
        return update(decode.update(params))
      case "mark_complete": {
        const { completed, task_id, task_ids } = decode.mark(params)
        const mark = (taskId: number) => set(taskId, (task) => ({ ...task, completed: completed ?? true }))
        return task_ids == null ? mark(task_id ?? 0) : { status: "success", results: task_ids.map(mark) }
      }
      default: {
        const { task_id } = decode.id(params)
        const found = set(task_id, (task) => task)
        tasks.delete(task_id)
        return found
      }
    }
  }
  return { run, tasks }
}

/** Handlers that are never called, because the tests run the tools as the agent does. */
const unreachable = {
  list_tasks: () => Effect.dieMessage("not called"),
  create_task: () => Effect.dieMessage("not called"),
  create_tasks: () => Effect.dieMessage("not called"),
  get_task: () => Effect.dieMessage("not called"),
  update_task: () => Effect.dieMessage("not called"),
  mark_complete: () => Effect.dieMessage("not called"),
  delete_task: () => Effect.dieMessage("not called")
}

/** The tools as a model receives them. */
export const toolkit = Effect.runSync(Effect.provide(TaskTools, TaskTools.toLayer(unreachable)))

/** The model, with the context that the types of the tools require. These tests never read the context. */
export const offline = Layer.merge(
  Offline.layer,
  Layer.succeed(ToolContext, {
    user: UserId.make(1),
    timeZone: "Europe/Berlin",
    cause: Cause.Mcp({ requestId: "test" })
  })
)

/** A conversation with the model. It keeps steps and history as the agent does. */
export const makeChat = (options?: {
  readonly pageSize?: number
  readonly maxSteps?: number
  readonly tasks?: ReadonlyArray<Partial<FakeTask>>
  readonly history?: ReadonlyArray<Prompt.Message>
}) => {
  const { run, tasks } = makeTools(options?.pageSize ?? 20, options?.tasks ?? [])
  const history: Array<Prompt.Message> = [...(options?.history ?? [])]
  const maxSteps = options?.maxSteps ?? 8

  const say = (message: string) =>
    Effect.gen(function* () {
      const model = yield* LanguageModel.LanguageModel
      const calls: Array<Call> = []
      history.push(Prompt.userMessage({ content: [Prompt.textPart({ text: message })] }))
      for (let step = 1; ; step++) {
        const parts = yield* model
          .streamText({
            prompt: [Prompt.systemMessage({ content: system }), ...history],
            toolkit,
            disableToolCallResolution: true,
            toolChoice: step === maxSteps ? "none" : "auto"
          })
          .pipe(Stream.runCollect, Effect.map(Chunk.toReadonlyArray))
        const text = parts.map((part) => (part.type === "text-delta" ? part.delta : "")).join("")
        const asked = parts.flatMap((part) =>
          part.type === "tool-call" ? [{ id: part.id, name: part.name, params: { ...part.params } }] : []
        )
        calls.push(...asked)
        history.push(
          Prompt.assistantMessage({
            content: [
              ...(text === "" ? [] : [Prompt.textPart({ text })]),
              ...asked.map((call) => Prompt.toolCallPart({ ...call, providerExecuted: false }))
            ]
          })
        )
        if (asked.length === 0 || step === maxSteps) return { text, calls, steps: step }
        const results = asked.map(({ id: callId, name, params }) => {
          const result = run(name, params)
          return Prompt.toolResultPart({ id: callId, name, isFailure: false, result, providerExecuted: false })
        })
        history.push(Prompt.toolMessage({ content: results }))
      }
    })
  return { say, tasks, history }
}
