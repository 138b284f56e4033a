import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type FakeTask, makeChat, offline } from "../support/OfflineChat.ts"
import { read } from "../support/Repository.ts"

/** Says the messages one after another on Friday, 2026-01-30, at 14:05 in Berlin: the last answer, and the tasks then. */
const converse = (messages: ReadonlyArray<string>, tasks: ReadonlyArray<Partial<FakeTask>> = []) =>
  Effect.gen(function* () {
    const chat = makeChat({ tasks })
    let last = ""
    for (const message of messages) last = (yield* chat.say(message)).text
    return { last, tasks: [...chat.tasks.values()] }
  }).pipe(Effect.provide(offline))

const shown = ({ due_at, due_date, priority, title }: FakeTask) =>
  [title, due_at ?? due_date, priority].filter((part) => part !== null).join(" | ")

/** What is said to an empty list, and the one task that comes of it. */
const added: ReadonlyArray<readonly [string, string]> = [
  ["add movie night on monday", "Movie night | 2026-02-02"],
  ["add call Bob in the evening on monday", "Call Bob | 2026-02-02T17:00:00.000Z"],
  ["remind me to call mom tomorrow at 7 in the evening", "Call mom | 2026-01-31T18:00:00.000Z"],
  ["add call Bob at 8 tomorrow evening", "Call Bob | 2026-01-31T19:00:00.000Z"],
  ["remind me at 9 tomorrow morning to call Bob", "Call Bob | 2026-01-31T08:00:00.000Z"],
  ["add submit report friday next week", "Submit report | 2026-02-06"],
  ["add call Bob first monday of next month", "Call Bob | 2026-02-02"],
  ["add renew passport march 2 next year", "Renew passport | 2027-03-02"],
  ["add dentist tomorrow at 3:30", "Dentist | 2026-01-31T14:30:00.000Z"],
  ["remind me in fifteen minutes to check the oven", "Check the oven | 2026-01-30T13:20:00.000Z"],
  ["tomorrow I have to call Bob at 5", "Call Bob | 2026-01-31T16:00:00.000Z"],
  ["add tomorrow call Bob", "Call Bob | 2026-01-31"],
  ["Hello there, could you remind me to buy milk tomorrow? Thank you so much!", "Buy milk | 2026-01-31"],
  ["add meet Bob tomorrow at 5 at the station", "Meet Bob at the station | 2026-01-31T16:00:00.000Z"],
  ["add high priority: buy milk", "Buy milk | high"],
  ["create task pay taxes with due date tomorrow", "Pay taxes | 2026-01-31"],
  ["add read the friday report", "Read the friday report"],
  ["add enjoy the sun", "Enjoy the sun"]
]

const bank = { title: "Call the bank", due_date: "2026-02-02", due_at: "2026-02-02T08:00:00.000Z" }
const report = { title: "Write the report", due_date: "2026-02-04" }

/** What is said, and what the last answer has to say; nothing is added or changed. */
const answered: ReadonlyArray<readonly [messages: ReadonlyArray<string>, answer: RegExp]> = [
  [["add gym on monday and wednesday"], /more than one date/],
  [["do I still need to write the report?"], /“Write the report” \(#2\): due on Wednesday/],
  [["finish all tasks due today"], /no open tasks due today/],
  [["list", "delete them"], /Should I delete all of them\?/],
  [["- eggs - milk - bread"], /Should I add “- eggs - milk - bread”/],
  [["dentist appointment tomorrow at 10"], /Should I add “dentist appointment tomorrow at 10”/],
  [["show tasks sorted by due date"], /1\. Call the bank.*\n2\. Write the report/],
  [["add subtask proofread to the report"], /cannot make subtasks/],
  [["create a list called groceries"], /there is one/],
  [["hi"], /Hello!.*add call the bank.*what's due.*done with/],
  [["help"], /add call the bank.*what's due.*done with/],
  [["was muss ich heute noch erledigen?"], /I read English only/],
  [[", ".repeat(2000)], /./],
  [[`add tasks:\n${"a next 3 jan 4 feb 5 mar 6 apr\n".repeat(120)}`], /at most 25 tasks/]
]

/** The sentences that docs/offline.md lists, each in a line of its own. */
const documented = Array.from(read("docs/offline.md").matchAll(/^- “(.+)”/gm), ([, sentence = ""]) => sentence)

describe("Offline, as people write", () => {
  for (const [message, expected] of added) {
    it.effect(`"${message}" adds ${expected}`, () =>
      Effect.gen(function* () {
        const { last, tasks } = yield* converse([message])
        assert.deepStrictEqual(tasks.map(shown), [expected], last)
      })
    )
  }

  for (const [messages, answer] of answered) {
    it.effect(`"${messages.join('", "').slice(0, 60)}" is answered with words`, () =>
      Effect.gen(function* () {
        const { last, tasks } = yield* converse(messages, [bank, report])
        assert.match(last, answer)
        assert.deepStrictEqual(tasks.map(shown), [`Call the bank | ${bank.due_at}`, "Write the report | 2026-02-04"])
      })
    )
  }

  it.effect("understands every sentence that its page lists", () =>
    Effect.gen(function* () {
      assert.isAbove(documented.length, 20)
      for (const sentence of documented) {
        const { last } = yield* converse(["list", sentence], [bank, report, { title: "Buy milk", labels: ["home"] }])
        assert.notMatch(last, /did not understand|found no task|not sure|could not/, sentence)
      }
    })
  )

  it.effect("what is on for today names what is overdue", () =>
    Effect.gen(function* () {
      const rent = { title: "Pay the rent", due_date: "2026-01-20" }
      assert.match((yield* converse(["what's on today?"], [rent])).last, /Pay the rent.*was due/)
    })
  )

  it.effect("a pasted list is added when it is meant", () =>
    Effect.gen(function* () {
      const { tasks } = yield* converse(["- eggs - milk - bread", "yes"])
      assert.deepStrictEqual(tasks.map(shown), ["Eggs", "Milk", "Bread"])
    })
  )

  it.effect("what was shown is deleted when it is confirmed", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* converse(["list", "delete them", "yes"], [bank, report])).tasks, [])
    })
  )

  it.effect("what was done is finished", () =>
    Effect.gen(function* () {
      const { tasks } = yield* converse(["I paid the rent"], [{ title: "Pay the rent" }, report])
      assert.deepStrictEqual(
        tasks.map(({ completed }) => completed),
        [true, false]
      )
    })
  )

  it.effect("a date can be given, moved and put off afterwards", () =>
    Effect.gen(function* () {
      const due = (...messages: ReadonlyArray<string>) =>
        Effect.map(converse(messages, [report]), ({ tasks }) => tasks.map(shown).at(-1))
      assert.strictEqual(yield* due("add call mom", "make it tomorrow at 5"), "Call mom | 2026-01-31T16:00:00.000Z")
      assert.strictEqual(
        yield* due("change the due date of the report to friday next week"),
        "Write the report | 2026-02-06"
      )
      assert.strictEqual(yield* due("postpone the report by 2 days"), "Write the report | 2026-02-06")
    })
  )
})
