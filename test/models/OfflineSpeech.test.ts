import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Either } from "effect"
import { resolve } from "../../src/dates/Dates.ts"
import { Budget } from "../../src/models/offline/Budget.ts"
import { parse } from "../../src/models/offline/Messages.ts"
import { dayPhrases, timePhrases } from "../support/DatePhrases.ts"
import { type FakeTask, makeChat, offline } from "../support/OfflineChat.ts"
import { read } from "../support/Repository.ts"

const now = DateTime.unsafeMake("2026-01-30T13:05:00Z")
const zone = DateTime.zoneUnsafeMakeNamed("Europe/Berlin")

/** Sends the messages in order on Friday, 2026-01-30, at 14:05 in Berlin. Returns the last answer and the tasks. */
const converse = (messages: ReadonlyArray<string>, tasks: ReadonlyArray<Partial<FakeTask>> = []) =>
  Effect.gen(function* () {
    const chat = makeChat({ tasks })
    let last = ""
    for (const message of messages) last = (yield* chat.say(message)).text
    return { last, tasks: [...chat.tasks.values()] }
  }).pipe(Effect.provide(offline))

const shown = ({ due_at, due_date, priority, title }: FakeTask) =>
  [title, due_at ?? due_date, priority].filter((part) => part !== null).join(" | ")

/** A message and the one task that it adds to an empty list. */
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
  ["on monday, remind me to call Bob at 3", "Call Bob | 2026-02-02T14:00:00.000Z"],
  ["tomorrow remind me at 9 to call Bob", "Call Bob | 2026-01-31T08:00:00.000Z"],
  ["In two hours, please remind me to stretch", "Stretch | 2026-01-30T15:05:00.000Z"],
  ["next monday, I need to call Bob", "Call Bob | 2026-02-02"],
  ["tomorrow, add call Bob", "Call Bob | 2026-01-31"],
  ["tomorrow add call Bob at 5", "Call Bob | 2026-01-31T16:00:00.000Z"],
  ["add tomorrow call Bob", "Call Bob | 2026-01-31"],
  ["add call Bob (tomorrow)", "Call Bob | 2026-01-31"],
  ["add call Bob (tomorrow) about the x() function", "Call Bob about the x() function | 2026-01-31"],
  ["Hello there, could you remind me to buy milk tomorrow? Thank you so much!", "Buy milk | 2026-01-31"],
  ["add meet Bob tomorrow at 5 at the station", "Meet Bob at the station | 2026-01-31T16:00:00.000Z"],
  ["add high priority: buy milk", "Buy milk | high"],
  ["create task pay taxes with due date tomorrow", "Pay taxes | 2026-01-31"],
  ["add read the friday report", "Read the friday report"],
  ["add enjoy the sun", "Enjoy the sun"],
  ['put "pay rent" on the list for the 1st of march', "pay rent | 2026-03-01"],
  ["Hey! Could you add eggs to my list tomorrow?", "Eggs | 2026-01-31"],
  ["schedule a call with Anna for wednesday at 11am", "Call with Anna | 2026-02-04T10:00:00.000Z"],
  ["set a reminder for monday 9am to submit the timesheet", "Submit the timesheet | 2026-02-02T08:00:00.000Z"],
  ["remind me that the rent is due on sunday", "The rent | 2026-02-01"],
  ["I need to remember to buy stamps", "Buy stamps"],
  ["add a haircut on tuesday", "Haircut | 2026-02-03"],
  ["and to lock the back door", "Lock the back door"],
  ["first, I have to send the contract by tuesday noon", "Send the contract | 2026-02-03T11:00:00.000Z"],
  ["add birthday party saturday 7pm at Anna's place", "Birthday party at Anna's place | 2026-01-31T18:00:00.000Z"],
  ["add read march 2 minutes", "Read march 2 minutes"],
  ["also pick up the kids at 4pm", "Pick up the kids | 2026-01-30T15:00:00.000Z"],
  ["I forgot: buy candles", "Buy candles"],
  ["note: buy candles", "Buy candles"],
  ["put dentist on thursday at 2pm", "Dentist | 2026-02-05T13:00:00.000Z"],
  ["add call the landlord asap", "Call the landlord | high"],
  ["add finish the slides by thursday, it's important", "Finish the slides | 2026-02-05 | high"]
]

/** A message that leads to an offer, and the task that "yes" adds. */
const offered: ReadonlyArray<readonly [string, string]> = [
  ["I have a dentist appointment on thursday at half past 2", "Dentist appointment | 2026-02-05T13:30:00.000Z"],
  ["My car needs an oil change next week", "My car needs an oil change | 2026-02-02"],
  ["Next Tuesday at 4 I'm meeting with the accountant", "Meeting with the accountant | 2026-02-03T15:00:00.000Z"],
  ["I've got a job interview next wednesday at 2:30pm", "Job interview | 2026-02-04T13:30:00.000Z"],
  ["tomorrow morning: yoga", "Yoga | 2026-01-31T08:00:00.000Z"],
  ["finish the slides for thursday", "Finish the slides | 2026-02-05"],
  ["cancel the gym membership by friday", "Cancel the gym membership | 2026-02-06"]
]

/** A message, the title of the task that it adds, and its `repeat`. */
const repeating: ReadonlyArray<readonly [string, string, string]> = [
  ["I have to pay the bill on the 15th of every month", "Pay the bill", "on the 15th of every month"],
  ["add review budget on the last friday of every month", "Review budget", "on the last friday of every month"],
  ["every day at 9, remind me to take my pills", "Take my pills", "every day at 9"],
  ["add gym every monday, wednesday and friday at 7am", "Gym", "every monday, wednesday and friday at 7am"],
  ["every friday I need to submit my timesheet by 4pm", "Submit my timesheet", "by 4pm every friday"],
  ["add read the weekly report on mondays", "Read the weekly report", "on mondays"],
  ["add water plants every 3 days starting tomorrow", "Water plants", "every 3 days starting tomorrow"]
]

const bank = { title: "Call the bank", due_date: "2026-02-02", due_at: "2026-02-02T08:00:00.000Z" }
const report = { title: "Write the report", due_date: "2026-02-04" }

/** Messages that change nothing, and the last answer. */
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
  [["add gym monday, wednesday and friday at 7am"], /more than one date/],
  [["remind me 30 minutes before 5pm to leave"], /only a part of that date/],
  [["add call Bob after 5pm"], /only a part of that date/],
  [["add call Bob except friday"], /only a part of that date/],
  [["remind me two days before easter to hide eggs"], /cannot read “two days before easter” as a date/],
  [["add call Bob today at 1am"], /cannot make it due “today at 1am”: that is in the past/],
  [["add call Bob on feb 30"], /there is no such day/],
  [["add check the oven every 10 minutes"], /cannot read how often/],
  [["remind me the day before the dentist"], /cannot read “the day before the dentist” as a date/],
  [["add meeting with John from 2 to 3pm tomorrow"], /only a part of that date/],
  [["did I write the report?"], /“Write the report” \(#2\)/],
  [["when do I have to call the bank?"], /“Call the bank” \(#1\)/],
  [["morning!"], /Hello!/],
  [["hi there, what can you help me with?"], /add call the bank/],
  [["add meeting 10-11am tomorrow"], /only a part of that date/],
  [["add meeting tomorrow 10:00-11:00"], /only a part of that date/],
  [["move the report an hour later"], /cannot move a time by hours/],
  [["what's my week looking like?"], /no open tasks due this week/],
  [["is the report urgent?"], /“Write the report” \(#2\)/],
  [["delete #9", "add it back"], /What should I add\?/],
  [["add yoga twice a week"], /cannot read how often/],
  [["is the report done?"], /“Write the report” \(#2\): due on Wednesday/],
  [["is anything due today?"], /no open tasks due today/],
  [["list tasks without a due date"], /no open tasks without a due date/],
  [["show my work tasks"], /no open tasks labelled work/],
  [["when's the report due?"], /due on Wednesday/],
  [["skip the report this week"], /cannot skip one/],
  [["no wait, keep it"], /\/undo/],
  [["thanks, that's it"], /welcome/],
  [["add tomorrow"], /What should I add\?/],
  [["show me what's due in february"], /2 open tasks due in february/],
  [["what did I plan for monday?"], /1 open task due monday:\n1\. Call the bank/],
  [["what about next week?"], /2 open tasks due next week/],
  [["which of them are important?"], /no open tasks with high priority/],
  [["did I finish anything?"], /no completed tasks/],
  [["did I call the bank yet?"], /“Call the bank” \(#1\): due on Monday/],
  [["finish the slides for thursday"], /no task that matches .*\nShould I add “finish the slides for thursday”/],
  [["move the report to morgen"], /could not change it/],
  [["hello there"], /Hello!/],
  [["list everything that repeats"], /cannot list only/],
  [["hi"], /Hello!.*add call the bank.*what's due.*done with/],
  [["help"], /add call the bank.*what's due.*done with/],
  [["was muss ich heute noch erledigen?"], /I read English only/],
  [[", ".repeat(2000)], /./],
  [[`add tasks:\n${"a next 3 jan 4 feb 5 mar 6 apr\n".repeat(120)}`], /at most 25 tasks/]
]

/** The example sentences in docs/offline.md. */
const documented = Array.from(read("docs/offline.md").matchAll(/^- “(.+)”/gm), ([, sentence = ""]) => sentence)

describe("Offline: messages as people write them", () => {
  for (const [message, expected] of added) {
    it.effect(`"${message}" adds ${expected}`, () =>
      Effect.gen(function* () {
        const { last, tasks } = yield* converse([message])
        assert.deepStrictEqual(tasks.map(shown), [expected], last)
      })
    )
  }

  for (const [messages, answer] of answered) {
    it.effect(`"${messages.join('", "').slice(0, 60)}" changes nothing`, () =>
      Effect.gen(function* () {
        const { last, tasks } = yield* converse(messages, [bank, report])
        assert.match(last, answer)
        assert.deepStrictEqual(tasks.map(shown), [`Call the bank | ${bank.due_at}`, "Write the report | 2026-02-04"])
      })
    )
  }

  for (const [message, expected] of offered) {
    it.effect(`"${message}" is offered, and "yes" adds ${expected}`, () =>
      Effect.gen(function* () {
        const asked = yield* converse([message])
        assert.match(asked.last, /Should I add “.*” to your list\?$/)
        assert.deepStrictEqual(asked.tasks, [])
        assert.deepStrictEqual((yield* converse([message, "yes please"])).tasks.map(shown), [expected])
      })
    )
  }

  for (const [message, title, repeat] of repeating) {
    it.effect(`"${message}" repeats ${repeat}`, () =>
      Effect.gen(function* () {
        const { tasks } = yield* converse([message])
        assert.deepStrictEqual(
          tasks.map((task) => [task.title, task.repeat?.text]),
          [[title, repeat]]
        )
      })
    )
  }

  it.effect("a day in another language is added as a title, and the answer says so", () =>
    Effect.gen(function* () {
      for (const [message, day] of [
        ["add Milch kaufen morgen", "morgen"],
        ["add comprar leche MAÑANA", "manana"],
        ["add купить молоко завтра", "завтра"],
        ["add 明天下午3点开会", "明天"]
      ] as const) {
        const { last, tasks } = yield* converse([message])
        assert.include(last, `I read dates in English only, so “${day}” is part of the title`)
        assert.deepStrictEqual(
          tasks.map(({ due_date }) => due_date),
          [null]
        )
      }
      for (const message of ["add Milch kaufen tomorrow", "add sutra", "add buy milk"]) {
        assert.notInclude((yield* converse([message])).last, "English only")
      }
    })
  )

  it.effect("a task added to a named list gets the name as a label", () =>
    Effect.gen(function* () {
      const { last, tasks } = yield* converse([
        "add milk, eggs and bread to my shopping list",
        "add call Bob",
        "what's on my shopping list?"
      ])
      assert.match(last, /3 open tasks labelled shopping/)
      assert.deepStrictEqual(
        tasks.map(({ labels }) => labels),
        [["shopping"], ["shopping"], ["shopping"], []]
      )
    })
  )

  it.effect("understands every example sentence of its page in docs", () =>
    Effect.gen(function* () {
      assert.isAbove(documented.length, 20)
      for (const sentence of documented) {
        const { last } = yield* converse(["list", sentence], [bank, report, { title: "Buy milk", labels: ["home"] }])
        assert.notMatch(last, /did not understand|found no task|not sure|could not/, sentence)
      }
    })
  )

  it.effect("a list for today includes overdue tasks", () =>
    Effect.gen(function* () {
      const rent = { title: "Pay the rent", due_date: "2026-01-20" }
      assert.match((yield* converse(["what's on today?"], [rent])).last, /Pay the rent.*was due/)
    })
  )

  it.effect("a pasted list is added after a confirmation", () =>
    Effect.gen(function* () {
      const { tasks } = yield* converse(["- eggs - milk - bread", "yes"])
      assert.deepStrictEqual(tasks.map(shown), ["Eggs", "Milk", "Bread"])
    })
  )

  it.effect("a confirmation deletes the tasks that were shown", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* converse(["list", "delete them", "yes"], [bank, report])).tasks, [])
    })
  )

  it.effect("a statement that something was done completes the task", () =>
    Effect.gen(function* () {
      for (const message of [
        "I paid the rent",
        "I paid the rent yesterday",
        "the rent is paid",
        "the rent has been paid",
        "pay the rent - done",
        "rent ✅",
        "done: rent"
      ]) {
        const { tasks } = yield* converse([message], [{ title: "Pay the rent" }, report])
        assert.deepStrictEqual(
          tasks.map(({ completed }) => completed),
          [true, false],
          message
        )
      }
    })
  )

  it.effect("a statement that leaves a task open changes nothing", () =>
    Effect.gen(function* () {
      const open = [{ title: "Buy milk" }, bank, report]
      for (const message of [
        "I need milk",
        "I needed milk",
        "I wanted to buy milk",
        "I tried to call the bank",
        "I planned to write the report",
        "I missed the bank call",
        "I've already started the report",
        "I postponed the report",
        "I skipped the report",
        "the report has been postponed",
        "my report has been delayed"
      ]) {
        const { tasks } = yield* converse([message], open)
        assert.deepStrictEqual(
          tasks.map(({ completed }) => completed),
          [false, false, false],
          message
        )
      }
      for (const message of ["I finished the report", "I mailed the report", "the report has been sent"]) {
        assert.strictEqual((yield* converse([message], open)).tasks[2]?.completed, true, message)
      }
    })
  )

  it.effect("a request with a condition changes nothing", () =>
    Effect.gen(function* () {
      for (const message of [
        "if the rent is paid, delete the report",
        "when I get home, remind me to call Bob",
        "once the bank has called, finish the report",
        "as soon as I have the milk, mark the milk as done",
        "unless it rains, add go for a run"
      ]) {
        const { last, tasks } = yield* converse([message], [{ title: "Buy milk" }, bank, report])
        assert.deepStrictEqual(
          tasks.map(({ completed, title }) => [title, completed]),
          ["Buy milk", "Call the bank", "Write the report"].map((title) => [title, false]),
          message
        )
        assert.match(last, /I did not understand|Should I add|I found no task/, message)
      }
    })
  )

  it.effect("a task with exactly the words as its title is preferred to a task with more words", () =>
    Effect.gen(function* () {
      const { last } = yield* converse(["when is the party?"], [{ title: "Plan a party" }, { title: "Party" }])
      assert.match(last, /^“Party” \(#2\)/)
    })
  )

  it.effect("a list by date has tasks without a date at its end", () =>
    Effect.gen(function* () {
      const { last } = yield* converse(["show tasks sorted by due date"], [{ title: "Buy milk" }, report, bank])
      assert.match(last, /1\. Call the bank.*\n2\. Write the report.*\n3\. Buy milk/)
    })
  )

  it.effect("a later message can set, move and postpone a date", () =>
    Effect.gen(function* () {
      const due = (...messages: ReadonlyArray<string>) =>
        Effect.map(converse(messages, [report]), ({ tasks }) => tasks.map(shown).at(-1))
      assert.strictEqual(yield* due("add call mom", "make it tomorrow at 5"), "Call mom | 2026-01-31T16:00:00.000Z")
      assert.strictEqual(
        yield* due("change the due date of the report to friday next week"),
        "Write the report | 2026-02-06"
      )
      assert.strictEqual(yield* due("postpone the report by 2 days"), "Write the report | 2026-02-06")
      assert.strictEqual(yield* due("push the report back a week"), "Write the report | 2026-02-11")
      assert.strictEqual(yield* due("make the report a day later"), "Write the report | 2026-02-05")
      assert.strictEqual(yield* due("put the report off until friday"), "Write the report | 2026-02-06")
      assert.strictEqual(yield* due("add call mom", "put it off until sunday"), "Call mom | 2026-02-01")
      assert.strictEqual(yield* due("bring the report forward to tomorrow"), "Write the report | 2026-01-31")
      assert.strictEqual(yield* due("lower the priority of the report"), "Write the report | 2026-02-04 | low")
      assert.strictEqual(yield* due("add call mom", "actually, make it sunday"), "Call mom | 2026-02-01")
      assert.strictEqual(yield* due("add call mom", "on sunday"), "Call mom | 2026-02-01")
    })
  )

  it.effect("several tasks that are due at different times are named with their own", () =>
    Effect.gen(function* () {
      const said = (message: string) => Effect.map(converse([message], [bank, report]), ({ last }) => last)
      assert.strictEqual(
        yield* said("postpone everything due next week by 2 days"),
        "“Call the bank” (#1) is now due on Wednesday.\n“Write the report” (#2) is now due on 6 February."
      )
      assert.strictEqual(
        yield* said("move the bank call and the report to tomorrow at 5"),
        "“Call the bank” (#1) and “Write the report” (#2) are now due tomorrow at 17:00."
      )
    })
  )

  it.effect("a place in the last list is no day of the month", () =>
    Effect.gen(function* () {
      const titles = ["Tea", "Milk", "Eggs", "Rice", "Salt"].map((title) => ({ title }))
      const said = (message: string) => Effect.map(converse(["list", message], titles), ({ last }) => last)
      assert.strictEqual(yield* said("show the fourth"), "“Rice” (#4): open.")
      assert.strictEqual(yield* said("show me the third"), "“Eggs” (#3): open.")
      assert.strictEqual(yield* said("what about the second?"), "“Milk” (#2): open.")
      assert.strictEqual(yield* said("how about the last one?"), "“Salt” (#5): open.")
      assert.strictEqual(yield* said("what about the 5th?"), "You have no open tasks due the 5th.")
    })
  )
})

/** Conversations of new users. Each message must get its answer at the first try. */
const sessions: ReadonlyArray<ReadonlyArray<readonly [message: string, answer: RegExp]>> = [
  [
    ["hi", /Hello!.*“add call the bank tomorrow at 9”/],
    ["what can you do?", /I can add, list, find/],
    ["add buy milk", /Added “Buy milk” \(#1\)\./],
    ["I have a dentist appointment on thursday at half past 2", /Should I add/],
    ["yes", /Added “Dentist appointment” \(#2\), due on Thursday at 14:30/],
    ["remind me to call mom tomorrow evening", /Added “Call mom” \(#3\), due tomorrow at 18:00/],
    ["I need to renew my passport before the end of the year", /“Renew my passport” \(#4\), due on 31 December/],
    ["what do I have to do this week?", /1 open task due this week:\n1\. Call mom/],
    ['put "pay rent" on the list for the 1st of march', /Added “pay rent” \(#5\), due on 1 March/],
    ["water the plants every other day", /Should I add “water the plants every other day”/],
    ["ok", /Added “Water the plants” \(#6\), every other day/],
    ["what's next?", /You have 6 open tasks:/],
    ["I called mom", /Done: “Call mom”/],
    ["push the dentist to friday", /“Dentist appointment” \(#2\) is now due on 6 February/],
    ["actually make it 3pm", /“Dentist appointment” \(#2\) is now due/],
    ["what's due in march?", /1 open task due in march:\n1\. pay rent/],
    ["the rent is urgent", /“pay rent” \(#5\) now has high priority/],
    ["done with milk", /Done: “Buy milk”/],
    ["show me everything", /You have 4 open tasks:/],
    ["delete the passport one", /Deleted “Renew my passport”/],
    ["thanks!", /You're welcome/]
  ],
  [
    ["good morning", /Hello!/],
    ["please add: pick up dry cleaning tonight", /“Pick up dry cleaning” \(#1\), due today at 20:00/],
    ["team meeting every monday at 10", /Should I add/],
    ["sure, thanks", /Added “Team meeting” \(#2\), every monday at 10/],
    ["schedule a call with Anna for wednesday at 11am", /“Call with Anna” \(#3\), due on Wednesday at 11:00/],
    ["finish the slides for thursday, it's important", /Should I add/],
    ["yes, add it", /Added “Finish the slides” \(#4\), due on Thursday/],
    ["list all my tasks", /You have 4 tasks:/],
    ["which of them are important?", /1 open task with high priority:\n1\. Finish the slides/],
    ["change the call with Anna to thursday", /“Call with Anna” \(#3\) is now due on Thursday/],
    ["when is the team meeting?", /“Team meeting” \(#2\)/],
    ["what did I plan for thursday?", /2 open tasks due thursday/],
    ["cancel the call with Anna", /Deleted “Call with Anna”/],
    ["remind me in 20 minutes to take the pizza out", /“Take the pizza out” \(#5\), due today at 14:25/],
    ["mark dry cleaning as done", /Done: “Pick up dry cleaning”/],
    ["the slides have been sent", /Done: “Finish the slides”/],
    ["did I finish anything?", /2 completed tasks/],
    ["how many are left?", /You have 2 open tasks/],
    ["clear my list", /Should I delete all of them\?/],
    ["no", /leave everything as it is/],
    ["bye", /welcome/]
  ],
  [
    [
      "Hey! Could you add milk, eggs and bread to my shopping list?",
      /Added 3 tasks:\n1\. Milk \(#1\), labelled shopping/
    ],
    ["add dentist 2/15 at 9", /“Dentist” \(#4\), due on 15 February at 9:00/],
    ["add lunch with Tom tomorrow at 1pm", /“Lunch with Tom” \(#5\), due tomorrow at 13:00/],
    ["remind me to take my pills every day at 8am", /“Take my pills” \(#6\), every day at 8am/],
    ["remind me about the concert on february 12th at 8pm", /“The concert” \(#7\), due on 12 February at 20:00/],
    ["set a reminder for monday 9am to submit the timesheet", /“Submit the timesheet” \(#8\), due on Monday at 9:00/],
    ["I bought the milk", /Done: “Milk”/],
    ["what's left on my shopping list?", /2 open tasks labelled shopping/],
    ["tomorrow: gym at 6", /Should I add/],
    ["yes please", /“Gym” \(#9\), due tomorrow at 18:00/],
    ["what's on for tomorrow?", /2 open tasks due tomorrow/],
    ["rename the gym one to swimming", /Renamed “Gym” to “swimming”/],
    ["move it to sunday", /“swimming” \(#9\) is now due on Sunday/],
    ["set its priority to low", /“swimming” \(#9\) now has low priority/],
    ["add a note to the dentist task: bring the x-rays", /Noted on “Dentist”/],
    ["show me the dentist task", /bring the x-rays/],
    ["snooze the timesheet until tuesday", /“Submit the timesheet” \(#8\) is now due on Tuesday/],
    ["do I have anything due next week?", /1 open task due next week/],
    ["how about this weekend?", /2 open tasks due this weekend/],
    ["the dentist and the concert are done", /Done: “Dentist” \(#4\) and “The concert” \(#7\)/],
    ["great, what's left?", /You have 6 open tasks/]
  ]
]

describe("Offline: conversations of new users", () => {
  for (const [i, session] of sessions.entries()) {
    it.effect(`twenty messages in a row are understood at the first try: ${i + 1}`, () =>
      Effect.gen(function* () {
        const chat = makeChat()
        for (const [message, answer] of session) assert.match((yield* chat.say(message)).text, answer, message)
      }).pipe(Effect.provide(offline))
    )
  }

  it("a date in a sentence is used in full or not at all", () => {
    const dueOf = (words: string) => Either.getOrNull(resolve(words, now, zone))
    let unread = 0
    for (const [day] of dayPhrases) {
      for (const time of ["", ...timePhrases.map(([words]) => words)]) {
        for (const phrase of [`${day} ${time}`.trim(), `${time} ${day}`.trim()]) {
          const [command] = parse(`add call Bob ${phrase}`, { now, zone, budget: new Budget() })
          const [task] = command?._tag === "Add" ? command.tasks : []
          if (task === undefined || task.unclear !== null || task.due === null) unread++
          else assert.deepStrictEqual([task.title, dueOf(task.due)], ["Call Bob", dueOf(phrase)], phrase)
        }
      }
    }
    // "at 5 march 2" contains a date by itself: "5 march".
    assert.isAtMost(unread, 20)
  })
})
