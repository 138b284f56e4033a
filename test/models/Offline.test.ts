import { LanguageModel, Prompt } from "@effect/ai"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, FastCheck, Stream, TestClock } from "effect"
import { blank, type Call, makeChat, offline, toolkit } from "../support/OfflineChat.ts"

/** A call without its null parameters: `delete_task {"task_id":2}`. */
const shown = ({ name, params }: Call) =>
  `${name} ${JSON.stringify(params, (_, value) => (value === null ? undefined : value))}`

const seeds = [
  { title: "Buy milk" },
  { title: "Call the bank", labels: ["money"], due_date: "2026-01-31", due_at: "2026-01-31T08:00:00.000Z" },
  { title: "Write the report", labels: ["work"], priority: "high", due_date: "2026-02-06" },
  { title: "Water the plants", labels: ["home"], completed: true }
]

/** The history of a conversation in which the last list shows these tasks as 1 to 4. */
const seeded = Effect.gen(function* () {
  const chat = makeChat({ tasks: seeds })
  yield* chat.say("list all tasks")
  return chat.history
})

/** Sends the messages in order. Returns the answer and the calls of the last one, and the remaining titles. */
const converse = (...messages: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const chat = makeChat()
    const answers: Array<Effect.Effect.Success<ReturnType<typeof chat.say>>> = []
    for (const message of messages) answers.push(yield* chat.say(message))
    return { answers, last: answers.at(-1)?.text ?? "", tasks: [...chat.tasks.values()] }
  }).pipe(Effect.provide(offline))

const list = (filter: string) => `list_tasks {"status":"pending"${filter === "" ? "" : `,${filter}`}}`
const find = (word: string, status = "all") => `list_tasks {"status":"${status}","query":"${word}"}`

describe("Offline", () => {
  describe("understands", () => {
    const table: ReadonlyArray<readonly [string, ...ReadonlyArray<string>]> = [
      // Adding
      ["add buy stamps", 'create_task {"title":"Buy stamps"}'],
      ["Please remind me to call mum tomorrow at 5", 'create_task {"title":"Call mum","due":"tomorrow at 5"}'],
      ["remind me on friday to pay the rent", 'create_task {"title":"Pay the rent","due":"friday"}'],
      ["I need to pick up the kids at 4pm", 'create_task {"title":"Pick up the kids","due":"at 4pm"}'],
      ["don't let me forget to feed the cat", 'create_task {"title":"Feed the cat"}'],
      ["put eggs on my list", 'create_task {"title":"Eggs"}'],
      ["add bread and butter", 'create_task {"title":"Bread and butter"}'],
      ["add buy milk, eggs and bread", 'create_task {"title":"Buy milk, eggs and bread"}'],
      ["add delete all tasks", 'create_task {"title":"Delete all tasks"}'],
      ['add "Call Bob and delete it tomorrow"', 'create_task {"title":"Call Bob and delete it tomorrow"}'],
      ["add enjoy the sun", 'create_task {"title":"Enjoy the sun"}'],
      [
        "new task: pay taxes, high priority, due feb 1, labelled home and money",
        'create_task {"title":"Pay taxes","priority":"high","labels":["home","money"],"due":"feb 1"}'
      ],
      [
        "three tasks: a, delete old mails and walk the dog tonight",
        'create_tasks {"tasks":[{"title":"A"},{"title":"Delete old mails"},{"title":"Walk the dog","due":"tonight"}]}'
      ],
      ["add buy soap and make it urgent", 'create_task {"title":"Buy soap","priority":"high"}'],
      // Listing
      ["what's on my list?", list("")],
      ["what do I have to do today?", list('"due_before":"2026-01-30"')],
      ["what is due today?", list('"due_before":"2026-01-30","due_after":"2026-01-30"')],
      ["what's due this week?", list('"due_before":"2026-02-01","due_after":"2026-01-26"')],
      ["anything overdue?", list('"due_before":"2026-01-29"')],
      ["what is due before friday", list('"due_before":"2026-02-05"')],
      ["show my high priority tasks", list('"priority":"high"')],
      ["what's labelled work?", list('"label":"work"')],
      ["show completed tasks", 'list_tasks {"status":"completed"}'],
      ["what did I finish today?", 'list_tasks {"status":"completed"}'],
      ["how many tasks do I have?", list("")],
      ["find the bank", find("bank")],
      ["show #2", 'get_task {"task_id":2}'],
      // Finishing and reopening
      ["done with the milk", find("milk", "pending"), 'mark_complete {"task_id":1,"completed":true}'],
      ["mark #2 as done", 'mark_complete {"task_id":2,"completed":true}'],
      ["finish the first two", 'mark_complete {"task_ids":[1,2],"completed":true}'],
      ["I finished the report", find("report", "pending"), 'mark_complete {"task_id":3,"completed":true}'],
      ["reopen the plants", find("plant", "completed"), 'mark_complete {"task_id":4,"completed":false}'],
      ["the last one is not done", 'mark_complete {"task_id":4,"completed":false}'],
      // Changing
      ["rename the second one to call the insurer", 'update_task {"task_id":2,"title":"call the insurer"}'],
      ["describe #3 as needs numbers", 'update_task {"task_id":3,"description":"needs numbers"}'],
      ["add a note to the milk: two litres", find("milk"), 'update_task {"task_id":1,"description":"two litres"}'],
      ["make the first one low priority", 'update_task {"task_id":1,"priority":"low"}'],
      ["the bank is urgent", find("bank"), 'update_task {"task_id":2,"priority":"high"}'],
      [
        "move the report to next monday at noon",
        find("report"),
        'update_task {"task_id":3,"due":"next monday at noon"}'
      ],
      ["move everything labelled work to Monday", list('"label":"work"'), 'update_task {"task_id":3,"due":"Monday"}'],
      ["remove the due date from #2", 'update_task {"task_id":2,"clear":["due"]}'],
      ["label #2 as home", 'get_task {"task_id":2}', 'update_task {"task_id":2,"labels":["money","home"]}'],
      ["remove the label money from #2", 'get_task {"task_id":2}', 'update_task {"task_id":2,"clear":["labels"]}'],
      // Deleting
      ["delete the last one", 'delete_task {"task_id":4}'],
      ["delete #2 and #3", 'delete_task {"task_id":2}', 'delete_task {"task_id":3}'],
      ["get rid of the bank task", find("bank"), 'delete_task {"task_id":2}'],
      // Several at once
      ["add buy tea and delete the bank", find("bank"), 'create_task {"title":"Buy tea"}', 'delete_task {"task_id":2}'],
      [
        "delete the milk and mark the report as done",
        find("milk"),
        find("report", "pending"),
        'delete_task {"task_id":1}',
        'mark_complete {"task_id":3,"completed":true}'
      ],
      // No tool call
      ["what can you do?"],
      ["undo that"],
      ["hello"],
      ["what is the weather like?"],
      ["call the dentist"],
      ["delete everything", list("")]
    ]
    const history = Effect.runPromise(Effect.provide(seeded, offline))
    for (const [message, ...calls] of table) {
      it.effect(`"${message}"`, () =>
        Effect.gen(function* () {
          const chat = makeChat({ tasks: seeds, history: yield* Effect.promise(() => history) })
          const answer = yield* chat.say(message)
          assert.deepStrictEqual(answer.calls.map(shown), calls)
          assert.notStrictEqual(answer.text, "")
        }).pipe(Effect.provide(offline))
      )
    }
  })

  describe("holds a conversation", () => {
    it.effect("reports the outcome of a call that waited for approval, and continues after it", () =>
      Effect.gen(function* () {
        const chat = makeChat({ tasks: seeds })
        yield* chat.say("delete buy milk")
        const called = chat.history.slice(0, -1)
        const result = { status: "error", error: "Not run: the user did not approve it." }
        const declined = called.map((message, i) =>
          message.role === "tool" && i === called.length - 1
            ? Prompt.toolMessage({
                content: message.content.map((part) => Prompt.toolResultPart({ ...part, isFailure: true, result }))
              })
            : message
        )
        const said = (history: ReadonlyArray<Prompt.Message>) =>
          LanguageModel.streamText({ prompt: history, toolkit, disableToolCallResolution: true }).pipe(
            Stream.runFold("", (text, part) => (part.type === "text-delta" ? text + part.delta : text))
          )
        assert.strictEqual(yield* said(called), "Deleted “Buy milk” (#1).")
        assert.strictEqual(yield* said(declined), "I could not delete it: Not run: the user did not approve it.")
        const done = Prompt.assistantMessage({ content: [Prompt.textPart({ text: "This was not done." })] })
        const after = makeChat({ tasks: seeds, history: [...declined, done] })
        assert.strictEqual((yield* after.say("yes")).calls.length, 0)
        assert.deepStrictEqual((yield* after.say("delete buy milk")).calls.map(shown), [
          find("milk"),
          'delete_task {"task_id":1}'
        ])
      }).pipe(Effect.provide(offline))
    )

    it.effect("from adding two tasks at once to deleting one that was renamed", () =>
      Effect.gen(function* () {
        const { answers, tasks } = yield* converse(
          "add buy milk and call the bank tomorrow at 9",
          "what's on my list?",
          "done with the milk",
          "rename the second one to call the credit union",
          "delete it"
        )
        assert.deepStrictEqual(
          answers.map(({ text }) => text),
          [
            "Added 2 tasks:\n1. Buy milk (#1)\n2. Call the bank (#2), due tomorrow at 9:00",
            "You have 2 open tasks:\n1. Buy milk (#1)\n2. Call the bank (#2), due tomorrow at 9:00",
            "Done: “Buy milk” (#1).",
            "Renamed “Call the bank” to “call the credit union” (#2).",
            "Deleted “call the credit union” (#2)."
          ]
        )
        assert.deepStrictEqual(
          tasks.map(({ completed, title }) => [title, completed]),
          [["Buy milk", true]]
        )
      })
    )

    it.effect("asks back when several tasks match, and takes the answer", () =>
      Effect.gen(function* () {
        const { answers, tasks } = yield* converse(
          "three tasks: buy milk, almond milk, tea",
          "delete milk",
          "the first one"
        )
        assert.deepStrictEqual(answers[1]?.calls.map(shown), [find("milk")])
        assert.strictEqual(
          answers[1]?.text,
          "2 tasks could be meant.\nWhich one should I delete?\n1. Almond milk (#2)\n2. Buy milk (#1)"
        )
        assert.deepStrictEqual(
          tasks.map(({ title }) => title),
          ["Buy milk", "Tea"]
        )
      })
    )

    it.effect('accepts a title, "both" or "no" as the answer to a question', () =>
      Effect.gen(function* () {
        const begin = ["three tasks: buy milk, almond milk, tea", "mark the milk as done"]
        const done = (tasks: ReadonlyArray<{ completed: boolean; id: number }>) =>
          tasks.filter(({ completed }) => completed).map(({ id }) => id)
        assert.deepStrictEqual(done((yield* converse(...begin, "the almond one")).tasks), [2])
        assert.deepStrictEqual(done((yield* converse(...begin, "both")).tasks), [1, 2])
        assert.deepStrictEqual(done((yield* converse(...begin, "no")).tasks), [])
        assert.deepStrictEqual(done((yield* converse(...begin, "delete the tea")).tasks), [])
      })
    )

    it.effect("never changes a task whose title is only similar to the request", () =>
      Effect.gen(function* () {
        const { answers, tasks } = yield* converse("add visit the dentist", "delete the dentits", "yes")
        assert.strictEqual(
          answers[1]?.text,
          "I found no task that matches “the dentits”. Close to it:\n1. Visit the dentist (#1)\nWhich one should I delete?"
        )
        assert.deepStrictEqual(tasks, [])
      })
    )

    it.effect("deletes all tasks only after a confirmation, and only those that it showed", () =>
      Effect.gen(function* () {
        const chat = makeChat({ tasks: [{ title: "A" }, { title: "B" }] })
        const asked = yield* chat.say("delete everything")
        assert.include(asked.text, "Should I delete all of them?")
        assert.strictEqual(chat.tasks.size, 2)
        chat.tasks.set(9, { ...blank, id: 9, title: "C" })
        yield* chat.say("yes")
        assert.deepStrictEqual(
          [...chat.tasks.values()].map(({ title }) => title),
          ["C"]
        )
      }).pipe(Effect.provide(offline))
    )

    it.effect("offers to add a task that is mentioned without a request", () =>
      Effect.gen(function* () {
        const { answers, tasks } = yield* converse("call the dentist on monday", "yes")
        assert.strictEqual(answers[0]?.text, "Should I add “call the dentist on monday” to your list?")
        assert.deepStrictEqual(
          tasks.map(({ due_date, title }) => [title, due_date]),
          [["Call the dentist", "2026-02-02"]]
        )
      })
    )

    it.effect("shows the next page of a list", () =>
      Effect.gen(function* () {
        const tasks = ["A", "B", "C"].map((title) => ({ title }))
        const chat = makeChat({ pageSize: 2, tasks })
        const first = yield* chat.say("list")
        assert.strictEqual(
          first.text,
          "You have 3 open tasks:\n1. B (#2)\n2. C (#3)\nThat is 2 of 3. Say “more” for the next ones."
        )
        assert.strictEqual((yield* chat.say("more")).text, "1. A (#1)")
        assert.strictEqual((yield* chat.say("more")).text, "There are no more.")
        yield* chat.say("done with them")
        yield* chat.say("finish the first one")
        assert.deepStrictEqual(
          [...chat.tasks.values()].map(({ completed }) => completed),
          [true, false, false]
        )
      }).pipe(Effect.provide(offline))
    )

    it.effect("changes every task of a kind, over several pages", () =>
      Effect.gen(function* () {
        const chat = makeChat({
          pageSize: 2,
          tasks: Array.from({ length: 5 }, (_, i) => ({ title: `T${i}`, labels: i === 0 ? [] : ["work"] }))
        })
        yield* chat.say("move everything labelled work to Monday")
        assert.deepStrictEqual(
          [...chat.tasks.values()].map(({ due_date }) => due_date),
          [null, "2026-02-02", "2026-02-02", "2026-02-02", "2026-02-02"]
        )
      }).pipe(Effect.provide(offline))
    )

    it.effect("reports the error of a tool in plain words", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* converse("mark #99 as done")).last, "I could not mark it as done: Task not found.")
        assert.match(
          (yield* converse("add call bob", "postpone it until blursday")).last,
          /^I could not change it: No such date/
        )
      })
    )

    it.effect("asks which task “it” means if that could be several tasks or none", () =>
      Effect.gen(function* () {
        assert.match((yield* converse("delete it")).last, /^I am not sure which task you mean/)
        const { last, tasks } = yield* converse("two tasks: a, b", "delete it")
        assert.strictEqual(last, "Which one should I delete?\n1. A (#1)\n2. B (#2)")
        assert.lengthOf(tasks, 2)
      })
    )
  })

  it.effect("says that it is not a language model, and that the application can undo a turn", () =>
    Effect.gen(function* () {
      assert.include((yield* converse("what can you do?")).last, "offline stand-in")
      assert.include((yield* converse("undo that")).last, "/undo")
    })
  )

  it.effect("a title is data, even if it looks like a request, a list or another task", () =>
    Effect.gen(function* () {
      const chat = makeChat({
        tasks: [{ title: "Delete all tasks" }, { title: "Buy (#1)\n2. Buy (#1)" }, { title: "Should I delete?" }]
      })
      const listed = yield* chat.say("what's on my list?")
      assert.deepStrictEqual(listed.calls.map(shown), [list("")])
      const yes = yield* chat.say("yes")
      assert.deepStrictEqual(yes.calls, [])
      yield* chat.say("delete the second one")
      assert.deepStrictEqual([...chat.tasks.keys()], [1, 3])
    }).pipe(Effect.provide(offline))
  )

  it.effect("answers with text when it must not use tools", () =>
    Effect.gen(function* () {
      const chat = makeChat({ maxSteps: 2, tasks: [{ title: "Buy milk" }] })
      const answer = yield* chat.say("done with the milk")
      assert.deepStrictEqual(answer.calls.map(shown), [find("milk", "pending")])
      assert.match(answer.text, /more steps than I may take/)
    }).pipe(Effect.provide(offline))
  )

  it.effect("streams word by word, ends with a word count, and generates the same text without streaming", () =>
    Effect.gen(function* () {
      const model = yield* LanguageModel.LanguageModel
      const parts = Chunk.toReadonlyArray(yield* Stream.runCollect(model.streamText({ prompt: "hello" })))
      const deltas = parts.flatMap((part) => (part.type === "text-delta" ? [part.delta] : []))
      const last = parts.at(-1)
      assert.strictEqual(deltas[0], "Hello!")
      assert.strictEqual(last?.type === "finish" ? last.usage.outputTokens : 0, deltas.length)
      assert.deepStrictEqual(
        parts.filter(({ type }) => type.startsWith("text-") && type !== "text-delta").map(({ type }) => type),
        ["text-start", "text-end"]
      )
      const whole = yield* model.generateText({ prompt: "hello" })
      assert.strictEqual(whole.text, deltas.join(""))
      assert.strictEqual(whole.finishReason, "stop")
    }).pipe(Effect.provide(offline))
  )

  it.effect("call ids are unique within a process and across processes", () =>
    Effect.gen(function* () {
      const ask = Effect.flatMap(
        converse("add a thing", "list", "delete #1 and #1", "delete #1 and #2"),
        ({ answers }) => Effect.succeed(answers.flatMap(({ calls }) => calls.map(({ id }) => id)))
      )
      const ids = [...(yield* ask), ...(yield* ask)]
      assert.strictEqual(new Set(ids).size, ids.length)
      assert.isAbove(ids.length, 7)
    })
  )

  it.effect("takes the date from the clock, in UTC, if the instructions do not contain it", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2030, 0, 1))
      const model = yield* LanguageModel.LanguageModel
      const answer = yield* model.generateText({
        prompt: "what's due today?",
        toolkit,
        disableToolCallResolution: true
      })
      assert.deepInclude(answer.toolCalls[0]?.params, { due_before: "2030-01-01", due_after: "2030-01-01" })
    }).pipe(Effect.provide(offline))
  )

  const words = FastCheck.constantFrom(
    ..."add delete rename done with the milk and call bank tomorrow at 9 to it them all second one #1 2 list what's due this week , . ? : yes no label as work \" more undo mark high priority move everything three tasks".split(
      " "
    )
  )
  const message = FastCheck.oneof(
    { weight: 3, arbitrary: FastCheck.array(words, { maxLength: 12 }).map((some) => some.join(" ")) },
    { weight: 1, arbitrary: FastCheck.string({ unit: "binary", maxLength: 300 }) }
  )

  it.effect.prop(
    "for any message, every turn ends with text, within its steps, and with valid arguments for the tools",
    [FastCheck.array(message, { minLength: 1, maxLength: 3 })],
    ([messages]) =>
      Effect.gen(function* () {
        const chat = makeChat({ tasks: [{ title: "Buy milk" }, { title: "Call the bank" }, { title: "Buy milk" }] })
        for (const message of messages) {
          const answer = yield* chat.say(message)
          assert.notStrictEqual(answer.text.trim(), "")
          assert.isAtMost(answer.steps, 8)
        }
      }).pipe(Effect.provide(offline)),
    { fastCheck: { numRuns: 25 } }
  )

  it.effect.prop(
    "it never calls a tool that the request does not offer",
    [message, FastCheck.subarray(["list_tasks", "create_task", "delete_task"] as const)],
    ([text, allowed]) =>
      Effect.gen(function* () {
        const model = yield* LanguageModel.LanguageModel
        const answer = yield* model.generateText({
          prompt: text,
          toolkit,
          toolChoice: { oneOf: allowed },
          disableToolCallResolution: true
        })
        assert.isTrue(answer.toolCalls.every(({ name }) => allowed.some((one) => one === name)))
        assert.isTrue(answer.toolCalls.length > 0 || answer.text !== "")
      }).pipe(Effect.provide(offline)),
    { fastCheck: { numRuns: 25 } }
  )
})
