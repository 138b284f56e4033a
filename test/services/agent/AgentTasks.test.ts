import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { Array as Arr, Clock, DateTime, Duration, Effect, Layer, Schema } from "effect"
import { type ConversationId, UserId } from "../../../src/domain/Id.ts"
import type { NewTask } from "../../../src/domain/NewTask.ts"
import { Cause } from "../../../src/domain/Task.ts"
import * as Offline from "../../../src/models/Offline.ts"
import * as OpenAi from "../../../src/models/OpenAi.ts"
import { Agent } from "../../../src/services/agent/Agent.ts"
import { Tasks } from "../../../src/services/tasks/Tasks.ts"
import * as TaskTools from "../../../src/services/tasks/TaskTools.ts"
import { Chat } from "../../../src/services/turns/Chat.ts"
import { Turns } from "../../../src/services/turns/Turns.ts"
import * as Database from "../../support/Database.ts"
import * as ModelServer from "../../support/ModelServer.ts"

const lease = Duration.seconds(15)

const chat = Chat.layer({ timeout: Duration.seconds(30), maxRunning: 100, lease }).pipe(
  Layer.provide(Agent.layer(TaskTools.TaskTools, { maxSteps: 8 })),
  Layer.provide(TaskTools.layer),
  Layer.provide(Turns.layer({ historyLimit: 20, maxRunningPerUser: 5, lease })),
  Layer.provideMerge(Tasks.layer),
  Layer.provide(Database.layer)
)

const openAi = Layer.unwrapEffect(
  Effect.map(ModelServer.ModelServer, ({ url }) => OpenAi.layer({ apiUrl: url, model: "scripted" }))
).pipe(Layer.provide(NodeHttpClient.dispatcherLayer), Layer.provideMerge(ModelServer.ModelServer.layer()))

/** The clock starts on a Friday, 14:05 in Berlin. */
const clock = Effect.map(Effect.clock, (real): Clock.Clock => {
  const ahead = DateTime.unsafeMake("2026-01-30T13:05:00Z").epochMillis - real.unsafeCurrentTimeMillis()
  const millis = () => real.unsafeCurrentTimeMillis() + ahead
  const nanos = () => BigInt(millis()) * 1_000_000n
  return {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    sleep: (duration) => real.sleep(duration),
    unsafeCurrentTimeMillis: millis,
    currentTimeMillis: Effect.sync(millis),
    unsafeCurrentTimeNanos: nanos,
    currentTimeNanos: Effect.sync(nanos)
  }
})
const onFriday = Layer.unwrapEffect(Effect.map(clock, Layer.setClock))

/** A conversation of a user in Berlin with these tasks. */
const personWith = (...tasks: ReadonlyArray<NewTask>) =>
  Effect.gen(function* () {
    const user = UserId.make(1 + Math.floor(Math.random() * 1e12))
    const service = yield* Tasks
    const chat = yield* Chat
    for (const task of tasks) yield* service.create(user, task, Cause.Request({ requestId: "test" }))
    let conversationId: ConversationId | null = null
    const say = (message: string) =>
      Effect.gen(function* () {
        const { end } = yield* chat.answer({ user, conversationId, message, timeZone: "Europe/Berlin", key: null })
        conversationId = end.conversationId
        return { text: end.content, calls: end.toolCalls ?? [], turnId: end.turnId }
      })
    /** All tasks, oldest first. */
    const list = Effect.map(service.list(user, {}), (page) => Arr.reverse(page.tasks))
    return { user, say, list }
  })

const titled = (tasks: ReadonlyArray<{ readonly title: string; readonly dueDate: string | null }>) =>
  tasks.map(({ dueDate, title }) => [title, dueDate])

const seeds = [
  { title: "Write the report", labels: ["work"], dueDate: "2026-01-31" },
  { title: "Call the bank", dueDate: "2026-02-20" },
  { title: "Book the room", labels: ["work", "travel"] },
  { title: "Water the plants", dueDate: "2026-02-01" }
]

/** A message, and a pattern for its answer. */
const conversation: ReadonlyArray<readonly [sentence: string, answer: RegExp]> = [
  ["hi", /Hello!/],
  ["what's on my list?", /empty/],
  ["add buy milk", /Added “Buy milk”/],
  ["remind me to call the dentist tomorrow at 3:30", /Added “Call the dentist”.*due tomorrow at 15:30/],
  ["I need to pay the rent on monday", /Added “Pay the rent”.*due on Monday/],
  ["remind me every monday to water the plants", /Added “Water the plants”.*every week on Monday/],
  ["what's on my list?", /4 open tasks/],
  ["make the first one high priority", /“Buy milk”.*high priority/],
  ["rename it to buy oat milk", /“buy oat milk”/],
  ["what's due tomorrow?", /Call the dentist/],
  ["move the dentist to tuesday", /on Tuesday at 15:30/],
  ["label the rent as home", /labelled home/],
  ["show my high priority tasks", /buy oat milk/],
  ["done with the rent", /Done: “Pay the rent”/],
  ["how many tasks do I have?", /3 open tasks/],
  ["reopen the rent", /Reopened “Pay the rent”/],
  ["find the dentist", /Call the dentist/],
  ["delete the rent", /Deleted “Pay the rent”/],
  ["the milk is due tomorrow", /“buy oat milk”.*due tomorrow/],
  ["thanks", /You're welcome/]
]

describe("the agent with the offline model", () => {
  layer(Layer.provideMerge(Layer.provide(chat, Offline.layer), onFriday), { excludeTestServices: true })((it) => {
    it.effect("lists only the tasks due this week", () =>
      Effect.gen(function* () {
        const { list, say } = yield* personWith(...seeds)
        const { text } = yield* say("what's due this week?")
        for (const title of ["Write the report", "Water the plants"]) assert.include(text, title)
        for (const title of ["Call the bank", "Book the room"]) assert.notInclude(text, title)
        assert.strictEqual((yield* list).length, 4)
      })
    )

    it.effect("moves everything labelled work to Monday, and nothing else", () =>
      Effect.gen(function* () {
        const { list, say, user } = yield* personWith(...seeds)
        const { turnId } = yield* say("move everything labelled work to Monday")
        const tasks = yield* list
        assert.deepStrictEqual(titled(tasks), [
          ["Write the report", "2026-02-02"],
          ["Call the bank", "2026-02-20"],
          ["Book the room", "2026-02-02"],
          ["Water the plants", "2026-02-01"]
        ])
        const [report] = tasks
        const { changes } = yield* (yield* Tasks).history(user, report?.id ?? assert.fail("there is one"), {})
        assert.deepInclude(changes[0]?.cause, { _tag: "Turn", turnId })
      })
    )

    it.effect("creates three tasks from a list of three, each with its details", () =>
      Effect.gen(function* () {
        const { list, say } = yield* personWith()
        const { calls } = yield* say("three tasks: buy milk, call the bank tomorrow and pay the rent on monday")
        assert.deepStrictEqual(
          calls.map(({ tool }) => tool),
          ["create_tasks"]
        )
        assert.deepStrictEqual(titled(yield* list), [
          ["Buy milk", null],
          ["Call the bank", "2026-01-31"],
          ["Pay the rent", "2026-02-02"]
        ])
      })
    )

    it.effect("creates repeating tasks, and the answer has the rule and the next due date", () =>
      Effect.gen(function* () {
        const { list, say } = yield* personWith({ title: "Write the report" })
        const { text } = yield* say("remind me every monday to water the plants")
        assert.match(text, /“Water the plants” \(#\d+\), next due on Monday, every week on Monday\./)
        assert.match((yield* say("add take out trash every other tuesday")).text, /every 2 weeks on Tuesday/)
        assert.match((yield* say("done with the plants")).text, /^Done: “Water the plants” \(#\d+\), next due on \w+/)
        assert.match((yield* say("make the report weekly")).text, /“Write the report” \(#\d+\) is now.* every week/)
        assert.deepStrictEqual(
          (yield* list).map(({ repeat, title }) => [title, repeat?.rule]),
          [
            ["Write the report", "FREQ=WEEKLY"],
            ["Water the plants", "FREQ=WEEKLY;BYDAY=MO"],
            ["Take out trash", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU"]
          ]
        )
      })
    )

    it.effect("a new time keeps the day, and a new day keeps the time", () =>
      Effect.gen(function* () {
        const { list, say } = yield* personWith({ title: "Call the bank", dueDate: "2026-02-20" })
        const due = Effect.map(list, ([task]) => [
          task?.dueDate,
          task?.dueAt == null ? null : DateTime.formatIso(task.dueAt)
        ])
        yield* say("move the bank call to 5pm")
        assert.deepStrictEqual(yield* due, ["2026-02-20", "2026-02-20T16:00:00.000Z"])
        yield* say("move the bank call to friday")
        assert.deepStrictEqual(yield* due, ["2026-02-06", "2026-02-06T16:00:00.000Z"])
      })
    )

    it.effect("deletes 150 tasks in parts, each after a confirmation", () =>
      Effect.gen(function* () {
        const tasks = Arr.makeBy(150, (i) => ({ title: `Task ${i + 1}` }))
        const { list, say } = yield* personWith(...tasks)
        const { calls, text } = yield* say("delete everything")
        assert.match(text, /25 tasks of 150; say it again for the others/)
        assert.isTrue(calls.every(({ tool }) => tool === "list_tasks"))
        assert.match((yield* say("yes")).text, /^Deleted/)
        assert.include((yield* say("how many tasks do I have?")).text, "125")
        assert.isAbove((yield* list).length, 0)
      })
    )

    it.effect("understands twenty ordinary messages in a row", () =>
      Effect.gen(function* () {
        const { list, say } = yield* personWith()
        for (const [sentence, answer] of conversation) assert.match((yield* say(sentence)).text, answer, sentence)
        assert.deepStrictEqual(titled(yield* list), [
          ["buy oat milk", "2026-01-31"],
          ["Call the dentist", "2026-02-03"],
          ["Water the plants", "2026-02-02"]
        ])
      })
    )
  })
})

const Listed = Schema.Struct({
  tasks: Schema.Array(Schema.Struct({ id: Schema.Number, title: Schema.String })),
  today: Schema.String,
  time_zone: Schema.String
})
const listedIn = Schema.decodeUnknownSync(Listed)

describe("the agent with OpenAI", () => {
  layer(Layer.provideMerge(Layer.provideMerge(chat, openAi), onFriday), { excludeTestServices: true })((it) => {
    const { call, say } = ModelServer

    it.effect("the model passes dates in words to the tools, and the results have the day and the zone", () =>
      Effect.gen(function* () {
        const model = yield* ModelServer.ModelServer
        const person = yield* personWith(...seeds)
        yield* model.enqueue(
          [call("list_tasks", { status: "pending", due_after: "today", due_before: "sunday" })],
          [say("Two.")]
        )
        yield* person.say("what's due this week?")
        const result = listedIn((yield* model.requests).at(-1)?.results[0]?.output)
        assert.deepStrictEqual([result.today, result.time_zone], ["2026-01-30", "Europe/Berlin"])
        assert.deepStrictEqual(
          result.tasks.map(({ title }) => title),
          ["Water the plants", "Write the report"]
        )
      })
    )

    it.effect("all tasks with a label are moved, with the ids from the list", () =>
      Effect.gen(function* () {
        const model = yield* ModelServer.ModelServer
        const person = yield* personWith(...seeds)
        yield* model.answer(({ results }) => {
          const [first] = results
          if (first === undefined) return [call("list_tasks", { label: "work" })]
          if (results.length > 1) return [say("Moved.")]
          return listedIn(first.output).tasks.map(({ id }) => call("update_task", { task_id: id, due: "monday 9am" }))
        })
        const { calls } = yield* person.say("move everything labelled work to Monday at 9")
        assert.deepStrictEqual(
          calls.map(({ tool }) => tool),
          ["list_tasks", "update_task", "update_task"]
        )
        const moved = (yield* person.list).filter(({ labels }) => labels.includes("work"))
        assert.deepStrictEqual(
          moved.map(({ dueAt, dueDate }) => [dueDate, dueAt === null ? null : DateTime.formatIso(dueAt)]),
          Arr.replicate(["2026-02-02", "2026-02-02T08:00:00.000Z"], 2)
        )
      })
    )

    it.effect("several tasks are created in one call with all members, and members of one are cleared", () =>
      Effect.gen(function* () {
        const model = yield* ModelServer.ModelServer
        const person = yield* personWith()
        const absent = { description: null, priority: null, labels: null, due: null }
        yield* model.enqueue(
          [
            call("create_tasks", {
              tasks: [
                { ...absent, title: "Buy milk", priority: "high", labels: ["errands"] },
                { ...absent, title: "Call", due: "whenever" },
                { ...absent, title: "Pay the rent", due: "in two weeks", description: "March" }
              ]
            })
          ],
          [say("Two of three.")]
        )
        yield* person.say("three tasks: …")
        const [milk, rent, none] = yield* person.list
        assert.deepInclude(milk, { title: "Buy milk", priority: "high", labels: ["errands"] })
        assert.deepInclude(rent, { title: "Pay the rent", dueDate: "2026-02-13", description: "March" })
        assert.isUndefined(none)

        const unchanged = { title: null, description: null, priority: null, labels: null, due: null }
        yield* model.enqueue(
          [call("update_task", { ...unchanged, task_id: milk?.id, clear: ["priority", "labels"] })],
          [say("Done.")]
        )
        yield* person.say("milk is not urgent, and drop its labels")
        assert.deepInclude((yield* person.list)[0], { title: "Buy milk", priority: null, labels: [] })
      })
    )
  })
})
