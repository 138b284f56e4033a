import * as Readline from "node:readline"
import type { Readable, Writable } from "node:stream"
import { FetchHttpClient, HttpServer } from "@effect/platform"
import { Array as Arr, Data, DateTime, Effect, Layer, Predicate, Queue, Redacted, Schema, Stream } from "effect"
import { Client, type ConversationId, type Received, TaskId, type TurnId, type UserId } from "../client.ts"
import type { AwaitedCall } from "../domain/Approval.ts"
import { isProblem } from "../domain/Problem.ts"
import type { ToolCall } from "../domain/ToolCall.ts"
import { Tokens } from "../services/access/Tokens.ts"
import { withProgress } from "./Starting.ts"

export interface Terminal {
  readonly stdin: Readable
  readonly stdout: Writable
  /** True for a person at a terminal. Otherwise each input line is a message, and answers are plain text. */
  readonly isInteractive: boolean
}

type Input = Data.TaggedEnum<{ Line: { readonly text: string }; Stop: {}; End: {} }>
const { $match, End, Line, Stop } = Data.taggedEnum<Input>()

const help = `/tasks  list the open tasks
/undo   undo the changes of the last answer
/new    begin a new conversation
/quit   quit (also Ctrl+D); Ctrl+C stops an answer
`

/**
 * A conversation in a terminal, until the input ends. Returns false if an answer failed in a script, so that the exit
 * code can show it.
 */
export const run = (terminal: Terminal = standard) =>
  Effect.gen(function* () {
    const client = yield* Client
    const { userId: user } = yield* withProgress("Waiting for the service")(client.users.me())
    const input = yield* inputOf(terminal)
    const { isInteractive, stdout } = terminal
    const write = (text: string) => Effect.sync(() => void stdout.write(text))
    const dim = (text: string) => (isInteractive ? `\u001b[2m${text}\u001b[22m` : text)

    let conversationId: ConversationId | null = null
    let turnId: TurnId | undefined
    let isAllCompleted = true
    let awaiting: ReadonlyArray<AwaitedCall> = []

    const show = (event: Received) => {
      switch (event._tag) {
        case "Turn":
          conversationId = event.conversationId
          turnId = event.turnId
          return ""
        case "Text":
          return event.content
        case "CallBegun":
          return ""
        case "CallEnded":
          return `\n${dim(describe(event.toolCall))}\n`
        case "Completed":
          awaiting = event.awaiting ?? []
          return "\n"
        case "Failed":
          isAllCompleted = false
          return `\n${event.error}\n`
      }
    }

    /** Lists the calls that await approval, with the titles of their tasks if these are found. */
    const askFor = (calls: ReadonlyArray<AwaitedCall>) =>
      Effect.gen(function* () {
        for (const { parameters, tool } of calls) {
          const found = yield* Effect.forEach(tasksIn(parameters), (id) =>
            Effect.option(client.tasks.get({ path: { user_id: user, task_id: id } }))
          )
          const titles = Arr.getSomes(found).flatMap(titleOf)
          const what = titles.length > 0 ? titles : titleOf(parameters)
          yield* write(`? ${tool.replaceAll("_", " ")}${what.length === 0 ? "" : `: ${what.join(", ")}`}\n`)
        }
        if (calls.length > 0) yield* write(dim("Answer yes to run it. Any other answer declines it.\n"))
      })

    /** Streams the answer. Ctrl+C cancels the turn, and the last event of the turn ends the stream. */
    const say = (message: string) => {
      const write = output(stdout)
      const stop = Effect.gen(function* () {
        yield* input.untilStop
        if (turnId !== undefined) yield* client.turns.cancel({ path: { user_id: user, turn_id: turnId } })
        return yield* Effect.never
      })
      turnId = undefined
      awaiting = []
      return client
        .stream({
          user,
          message,
          conversationId,
          timeZone: DateTime.zoneToString(DateTime.zoneMakeLocal()),
          idempotencyKey: crypto.randomUUID()
        })
        .pipe(
          Stream.runForEach((event) => Effect.sync(() => write(show(event)))),
          Effect.raceFirst(stop),
          Effect.zipRight(Effect.suspend(() => askFor(awaiting)))
        )
    }

    const undo = Effect.gen(function* () {
      if (turnId === undefined) return yield* write("There is nothing to undo.\n")
      const { reverted } = yield* client.turns.undo({ path: { user_id: user, turn_id: turnId } })
      yield* write(reverted.length === 0 ? "It changed nothing.\n" : `Undone: ${countOf(reverted.length, "change")}.\n`)
    })

    const list = Effect.gen(function* () {
      const { tasks, total } = yield* client.tasks.list({
        path: { user_id: user },
        urlParams: { status: "pending", limit: 50 }
      })
      const lines = tasks.map(
        ({ dueDate, id, title }) => `#${id} ${title}${dueDate === null ? "" : `, due ${dueDate}`}\n`
      )
      const rest = total > tasks.length ? `and ${total - tasks.length} more\n` : ""
      yield* write(total === 0 ? "There are no open tasks.\n" : lines.join("") + rest)
    })

    const answer = (text: string) => {
      switch (text) {
        case "":
          return Effect.void
        case "/help":
          return write(help)
        case "/tasks":
          return list
        case "/undo":
          return undo
        case "/new":
          conversationId = null
          turnId = undefined
          return write("A new conversation.\n")
        default:
          return /^\/\w+$/.test(text) ? write(`Unknown command: ${text}\n${help}`) : say(text)
      }
    }

    const refused = (error: unknown) => {
      isAllCompleted = false
      return write(`${reasonOf(error)}\n`)
    }

    if (isInteractive) yield* write(`taskchat. ${dim("/help lists the commands.")}\n`)
    while (true) {
      if (isInteractive) yield* write("\n› ")
      const next = yield* input.take
      const text = $match(next, { Line: ({ text }) => text.trim(), Stop: () => "/quit", End: () => "/quit" })
      if (text === "/quit") break
      yield* Effect.catchAll(answer(text), refused)
    }
    return isInteractive || isAllCompleted
  }).pipe(Effect.scoped)

/** A conversation with a running service, as the user of the token. */
export const connect = (baseUrl: string, token: Redacted.Redacted) =>
  Effect.provide(run(), Layer.provide(Client.layer({ baseUrl, token }), FetchHttpClient.layer))

/** A conversation with the service in this process. */
export const connectLocal = (user: UserId) =>
  Effect.gen(function* () {
    const token = yield* (yield* Tokens).issue(user, "1 day")
    return yield* HttpServer.addressFormattedWith((address) => connect(address, Redacted.make(token)))
  })

const standard: Terminal = {
  stdin: process.stdin,
  stdout: process.stdout,
  isInteractive: process.stdin.isTTY === true && process.stdout.isTTY === true
}

/** Input lines and Ctrl+C. During an answer, Ctrl+C does not end the program. */
const inputOf = ({ isInteractive, stdin, stdout }: Terminal) =>
  Effect.gen(function* () {
    const inputs = yield* Queue.unbounded<Input>()
    const stops = yield* Queue.sliding<void>(1)
    let isAnswering = false
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const lines = Readline.createInterface({
          input: stdin,
          terminal: isInteractive,
          ...(isInteractive && { output: stdout })
        })
        lines.on("line", (text) => inputs.unsafeOffer(Line({ text })))
        lines.on("SIGINT", () => (isAnswering ? stops.unsafeOffer() : inputs.unsafeOffer(Stop())))
        lines.on("close", () => inputs.unsafeOffer(End()))
        return lines
      }),
      (lines) => Effect.sync(() => lines.close())
    )
    return {
      take: inputs.take,
      /** While an effect waits for this, Ctrl+C completes it and nothing else. */
      untilStop: Effect.acquireUseRelease(
        Effect.sync(() => {
          isAnswering = true
        }),
        () => stops.take,
        () =>
          Effect.sync(() => {
            isAnswering = false
          })
      )
    }
  })

/** Writes texts without empty lines between them. */
const output = (stdout: Writable) => {
  let isAtLineStart = true
  return (text: string) => {
    const shown = isAtLineStart ? text.replace(/^\n+/, "") : text
    if (shown === "") return
    isAtLineStart = shown.endsWith("\n")
    stdout.write(shown)
  }
}

const countOf = (count: number, what: string) => `${count} ${what}${count === 1 ? "" : "s"}`

const titleOf = (value: unknown) =>
  Predicate.isRecord(value) && typeof value["title"] === "string" ? [`“${value["title"]}”`] : []

/** The ids of the tasks in the parameters of a call. */
const tasksIn = (parameters: unknown) => {
  const given = Predicate.isRecord(parameters) ? parameters : {}
  return [given["task_id"], given["task_ids"]].flat().filter(isTaskId)
}

const isTaskId = Schema.is(TaskId)

/** A tool call: its name and the titles of its tasks. */
const describe = ({ result, tool }: ToolCall) => {
  const name = tool.replaceAll("_", " ")
  if (result.status === "error") return `! ${name}: ${String(result["error"])}`
  const { results, task, tasks } = result
  const several = Array.isArray(results)
    ? results.map((one) => (Predicate.isRecord(one) ? one["task"] : undefined))
    : []
  const titles = [task, ...several].flatMap(titleOf).join(", ")
  return `✓ ${name}${titles === "" ? "" : `: ${titles}`}${Array.isArray(tasks) ? `: ${countOf(tasks.length, "task")}` : ""}`
}

const reasonOf = (error: unknown) => {
  if (isProblem(error)) return error.detail
  return Predicate.isError(error) ? error.message : String(error)
}
