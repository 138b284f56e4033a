import { mkdirSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect, Layer, Logger, LogLevel } from "effect"
import type { Page } from "playwright-core"
import type { UserId } from "../../src/domain/Id.ts"
import * as ScriptedModel from "../../src/testing/ScriptedModel.ts"
import { Browser, hasBrowser, type Look, open, violations } from "../support/Browser.ts"
import { cuttable } from "../support/Cuttable.ts"
import { root } from "../support/Repository.ts"
import * as Server from "../support/Server.ts"
import { newUser, send, tokenOf } from "../support/Server.ts"

const { call, fail, faults, pause } = ScriptedModel

/** A new user's page, and ways to look at it. */
interface Visit {
  readonly page: Page
  readonly user: UserId
  readonly token: string
  /** Breaks the page's connections. */
  readonly cut: () => void
  /** Says something, as a user does: the field, then Enter. */
  readonly say: (message: string) => Promise<void>
  /** Waits until the page shows this. */
  readonly sees: (text: string | RegExp) => Promise<void>
  /** Waits until the page does not show this. */
  readonly misses: (text: string | RegExp) => Promise<void>
  /** Waits until no turn runs. */
  readonly rests: () => Promise<void>
  readonly resume: () => Promise<void>
}

const visit = (look: Look = {}) =>
  Effect.gen(function* () {
    const page = yield* open(look)
    const { port } = yield* Server.Server
    const { resume } = yield* ScriptedModel.ScriptedModel
    const way = yield* cuttable(port)
    const user = yield* newUser
    const token = yield* tokenOf(user)
    yield* Effect.promise(() => page.goto(`http://127.0.0.1:${way.port}/#token=${token}`))
    const of = (text: string | RegExp) => page.getByText(text).locator("visible=true").first()
    const visit: Visit = {
      page,
      user,
      token,
      cut: way.cut,
      say: async (message) => {
        await page.getByLabel("Message", { exact: true }).fill(message)
        await page.keyboard.press("Enter")
      },
      sees: (text) => of(text).waitFor(),
      misses: async (text) => {
        await of(text).waitFor({ state: "detached" })
      },
      rests: () => page.getByRole("button", { name: "Send" }).waitFor(),
      resume: () => Effect.runPromise(resume)
    }
    return visit
  })

const looking = (run: (visit: Visit) => Promise<void>, look?: Look) =>
  Effect.scoped(Effect.flatMap(visit(look), (visit) => Effect.promise(() => run(visit))))

const plays = (message: string, ...answers: ReadonlyArray<ScriptedModel.Answer>) =>
  Effect.flatMap(Server.Server, (server) => server.plays(message, ...answers))

/** What is shown of the last answer, but for its buttons. */
const answer = (page: Page) => page.locator(".assistant .parts").last().innerText()

const service = Layer.merge(Browser.layer, Server.layer({ pageModel: "offline", confirm: "deletions" })).pipe(
  // The requests' log lines would hide what the tests say.
  Layer.provide(Logger.minimumLogLevel(LogLevel.Error))
)

describe.runIf(hasBrowser)("the page", () => {
  layer(service, { excludeTestServices: true, timeout: "5 minutes" })((it) => {
    it.effect("removes the token from the URL and keeps it until the tab is closed", () =>
      looking(async ({ page, sees, token }) => {
        await sees("What do you want to get done?")
        assert.notInclude(page.url(), "token")
        assert.strictEqual(await page.evaluate("JSON.stringify(history.state)"), "null")
        await page.reload()
        await sees("What do you want to get done?")
        await page.getByRole("button", { name: "Sign out" }).click()
        await page.reload()
        await page.getByLabel("Token").fill(`${token}x`)
        await page.keyboard.press("Enter")
        await sees("The token is not valid")
        await page.getByLabel("Token").fill(token)
        await page.keyboard.press("Enter")
        await sees("What do you want to get done?")
      })
    )

    it.effect("shows an answer as it arrives, its tool calls in words, and the task list after each call", () =>
      Effect.gen(function* () {
        yield* plays(
          "Plan the party",
          ["Two things ", pause, "first. ", call("create_task", { title: "Buy milk", due: "tomorrow at 9" }), pause],
          [pause, "All set."]
        )
        yield* looking(async ({ misses, page, resume, rests, say, sees }) => {
          await sees("a few fixed rules answer")
          await say("Plan the party")
          await sees("Two things")
          assert.isTrue(await page.getByRole("button", { name: "Stop" }).isVisible())
          assert.strictEqual(await page.locator(".assistant").getAttribute("aria-busy"), "true")
          await resume()
          await sees("first.")
          await resume()
          await sees("Added “Buy milk”, due tomorrow at 09:00")
          await page.locator("#tasks").getByText("Buy milk").waitFor()
          await misses("All set.")
          await resume()
          await rests()
          const before = await answer(page)
          assert.match(before, /^Two things first\.\s+Added “Buy milk”, due tomorrow at 09:00\s+All set\.$/)
          assert.strictEqual(await page.locator("h1:visible").innerText(), "Plan the party")
        })
      })
    )

    it.effect("asks before a deletion, which the user approves, declines, or declines by the next message", () =>
      Effect.gen(function* () {
        const server = yield* Server.Server
        yield* plays("Add milk", call("create_task", { title: "Milk" }), "Added.")
        yield* looking(async ({ misses, page, rests, say, sees, token }) => {
          const button = (name: string) => page.getByRole("button", { name, exact: true })
          await say("Add milk")
          await rests()
          const headers = { authorization: `Bearer ${token}` }
          const found = await page.request.get(new URL("/api/me/tasks", page.url()).href, { headers })
          const deletion = call("delete_task", { task_id: (await found.json()).tasks[0].id })
          await Effect.runPromise(server.plays("Delete it", ["Shall I? ", deletion], "As you like."))
          await say("Delete it")
          await sees("Delete “Milk”?")
          await page.reload()
          await sees("Delete “Milk”?")
          await button("Decline").click()
          await sees("As you like.")
          await misses("Delete “Milk”?")
          await say("Delete it")
          await sees("Delete “Milk”?")
          await say("No, wait")
          await rests()
          await misses("Delete “Milk”?")
          assert.strictEqual(await page.locator("#tasks").getByText("Milk").count(), 1)
          await say("Delete it")
          await button("Approve").click()
          await sees("Deleted “Milk”")
          await rests()
          await page.locator("#tasks").getByText("Milk").waitFor({ state: "detached" })
          await button("Undo").last().click()
          await page.locator("#tasks").getByText("Milk").waitFor()
        })
      })
    )

    it.effect("resumes after a cut in an answer, with nothing missing or repeated", () =>
      Effect.gen(function* () {
        yield* plays("Count", ["alpha ", pause, "beta ", pause, "gamma"])
        yield* looking(async ({ cut, page, resume, rests, say, sees }) => {
          await say("Count")
          await sees("alpha")
          cut()
          await sees("The connection is broken")
          await resume()
          await sees("alpha beta")
          cut()
          await resume()
          await rests()
          assert.strictEqual(await answer(page), "alpha beta gamma")
        })
      })
    )

    it.effect("resumes after a reload in an answer", () =>
      Effect.gen(function* () {
        yield* plays("Count on", ["alpha ", pause, "beta"])
        yield* looking(async ({ page, resume, rests, say, sees }) => {
          await say("Count on")
          await sees("alpha")
          await page.reload()
          await sees("alpha")
          assert.isTrue(await page.getByRole("button", { name: "Stop" }).isVisible())
          await resume()
          await rests()
          assert.strictEqual(await answer(page), "alpha beta")
          await page.reload()
          await sees("alpha beta")
        })
      })
    )

    it.effect("cancels a turn, and tries it again", () =>
      Effect.gen(function* () {
        yield* plays("Talk", ["Well, ", pause, "that is it."])
        yield* looking(async ({ page, resume, rests, say, sees }) => {
          await say("Talk")
          await sees("Well,")
          await page.keyboard.press("Escape")
          await sees("The turn was cancelled.")
          await page.getByRole("button", { name: "Try again" }).click()
          await page.getByRole("button", { name: "Stop" }).waitFor()
          await resume()
          await rests()
          assert.strictEqual(await answer(page), "Well, that is it.")
          assert.strictEqual(await page.getByRole("button", { name: "Try again" }).count(), 0)
        })
      })
    )

    it.effect("shows why a turn failed, before and after a reload, and tries it again", () =>
      Effect.gen(function* () {
        yield* plays("Break", fail(faults.malformed))
        yield* plays("Break later", ["So far, ", fail(faults.status(400))])
        yield* looking(async ({ page, say, sees }) => {
          const reason = "The assistant failed to answer"
          await say("Break later")
          await sees(reason)
          await page.reload()
          await sees("So far,")
          await sees(reason)
          await page.getByRole("button", { name: "New conversation" }).click()
          await say("Break")
          await sees(reason)
          await page.reload()
          await sees(reason)
          await page.getByRole("button", { name: "Try again" }).click()
          await page.locator(".user").nth(1).waitFor()
          await page.locator(".assistant .problem").last().waitFor()
        })
      })
    )

    it.effect("undoes a turn", () =>
      Effect.gen(function* () {
        yield* plays("Add two", [call("create_tasks", { tasks: [{ title: "Tea" }, { title: "Rice" }] })], "Done.")
        yield* looking(async ({ page, rests, say, sees }) => {
          await say("Add two")
          await rests()
          await page.locator("#tasks").getByText("Rice").waitFor()
          await page.locator(".assistant").getByRole("button", { name: "Undo" }).click()
          await sees("2 changes were taken back.")
          await sees("Nothing to do.")
        })
      })
    )

    it.effect(
      "has a task list: tasks are added, due, overdue, edited, completed with a click, and each change undone",
      () =>
        looking(async ({ page, sees }) => {
          const list = page.locator("#tasks")
          await page.getByLabel("New task").fill("Water the plants")
          await page.keyboard.press("Enter")
          await list.getByRole("button", { name: "Water the plants" }).click()
          await page.getByLabel("Due").fill("2020-01-31")
          await page.getByLabel("Time").fill("09:30")
          await page.getByLabel("Priority").selectOption("high")
          await page.getByLabel("Labels").fill("home, green")
          await page.getByRole("button", { name: "Save" }).click()
          await sees("“Water the plants” was changed.")
          const item = (name: string | RegExp) => list.getByRole("button", { name })
          await list.getByRole("heading", { name: "Overdue" }).waitFor()
          const name = (await list.locator(".task .open").innerText()).replaceAll(/\s+/g, " ")
          assert.match(name, /^Water the plants Fri,? 31 Jan 2020 at 09:30, overdue high priority home green$/)
          await page.getByRole("status").getByRole("button", { name: "Undo" }).click()
          await list.getByRole("heading", { name: "No date" }).waitFor()

          await list.getByRole("checkbox", { name: "Done: Water the plants" }).focus()
          await page.keyboard.press("Space")
          await sees("“Water the plants” is done.")
          await list.getByText("Done (1)").waitFor()
          await page.getByRole("status").getByRole("button", { name: "Undo" }).click()
          await list.getByRole("heading", { name: "No date" }).waitFor()

          await item("Water the plants").click()
          await page.getByRole("button", { name: "Delete" }).click()
          await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click()
          await sees("Nothing to do.")
        })
    )

    it.effect("moves a repeating task to its next date and back, any number of times", () =>
      looking(async ({ page, sees }) => {
        const list = page.locator("#tasks")
        const item = list.getByRole("button", { name: /^Water the plants/ })
        const undo = async () => {
          await page.getByRole("status").getByRole("button", { name: "Undo" }).click()
          await sees("“Water the plants” is as it was.")
        }
        const isDue = (due: string) => item.filter({ hasText: due }).filter({ hasText: "↻ every week" }).waitFor()
        await page.getByLabel("New task").fill("Water the plants")
        await page.keyboard.press("Enter")
        await item.click()
        await page.getByLabel("Due").fill("2101-01-03")
        await page.getByLabel("Time").fill("09:30")
        await page.getByLabel("Repeats").fill("every blue moon")
        await page.keyboard.press("Enter")
        await page.getByRole("alert").getByText("how often").waitFor()
        assert.strictEqual(await page.getByLabel("Time").inputValue(), "09:30")
        await page.getByLabel("Repeats").fill("every monday")
        await page.keyboard.press("Enter")
        await isDue("3 Jan 2101 at 09:30")
        for (const _ of ["once", "again"]) {
          await list.getByRole("checkbox", { name: "Done: Water the plants" }).click()
          await sees(/“Water the plants” is done. Next: Mon,? 10 Jan 2101 at 09:30/)
          await isDue("10 Jan 2101 at 09:30")
          await undo()
          await isDue("3 Jan 2101 at 09:30")
        }
        await item.click()
        await page.getByLabel("Due").fill("")
        await page.keyboard.press("Enter")
        await list.getByRole("heading", { name: "No date" }).waitFor()
        assert.strictEqual(await list.locator(".repeat").count(), 0)
        await undo()
        await isDue("3 Jan 2101 at 09:30")
      })
    )

    it.effect("shows changes made in the meantime instead of overwriting them", () =>
      Effect.gen(function* () {
        const { page, sees, user } = yield* visit()
        const id = (yield* send("POST", `/api/${user}/tasks`, { user, body: { title: "Mine" } })).json["id"]
        yield* Effect.promise(async () => {
          await page.reload()
          await page.locator("#tasks").getByRole("button", { name: "Mine" }).click()
          await page.getByLabel("Title").locator("visible=true").fill("Too late")
        })
        yield* send("PATCH", `/api/${user}/tasks/${id}`, { user, body: { title: "Theirs" } })
        yield* Effect.promise(async () => {
          await page.getByRole("button", { name: "Save" }).click()
          await sees("It changed in the meantime.")
          assert.strictEqual(await page.getByLabel("Title").locator("visible=true").inputValue(), "Theirs")
        })
      }).pipe(Effect.scoped)
    )

    it.effect("opens, finds, renames and deletes conversations", () =>
      looking(async ({ misses, page, rests, say, sees }) => {
        const list = page.locator("#conversation-list")
        for (const message of ["About apples", "About pears"]) {
          await page.getByRole("button", { name: "New conversation" }).click()
          await say(message)
          await rests()
          await list.getByRole("button", { name: message, exact: true }).waitFor()
        }
        await page.getByLabel("Search conversations").fill("APPLE")
        await list.getByRole("button", { name: "About pears", exact: true }).waitFor({ state: "detached" })
        await list.getByRole("button", { name: "About apples", exact: true }).click()
        assert.strictEqual(await page.locator(".user").innerText(), "You said:\n\nAbout apples")
        await page.getByRole("button", { name: "Rename “About apples”" }).click()
        await page.getByRole("dialog").getByLabel("Title").fill("Apples <b>only</b>")
        await page.getByRole("button", { name: "Rename", exact: true }).click()
        await sees("Apples <b>only</b>")
        await page.goBack()
        await page.locator(".user").getByText("About pears").waitFor()
        await page.goForward()
        await page.getByRole("button", { name: /^Delete “Apples/ }).click()
        await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click()
        await sees("What do you want to get done?")
        await page.getByLabel("Search conversations").fill("")
        await misses("Apples <b>only</b>")
      })
    )

    it.effect("shows hostile titles, messages and answers as text", () =>
      Effect.gen(function* () {
        const hostile = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
        yield* plays(hostile, [hostile, call("create_task", { title: hostile })], hostile)
        yield* looking(async ({ page, rests, say }) => {
          await say(hostile)
          await rests()
          await page.locator("#tasks").getByText(hostile).waitFor()
          await page.reload()
          await page.locator(".assistant").getByText(hostile).first().waitFor()
          assert.strictEqual(await page.title(), "taskchat")
          assert.strictEqual(await page.locator("img[src=x]").count(), 0)
          assert.strictEqual(await page.locator("script").count(), 1)
        })
      })
    )

    const looks: ReadonlyArray<Look> = [{ colorScheme: "light" }, { colorScheme: "dark" }, { width: 390, height: 844 }]
    it.effect.each(looks)("has no axe violations, and nothing is wider than the screen: %j", (look) =>
      Effect.gen(function* () {
        yield* plays(
          "Show",
          ["Let me see. ", call("create_task", { title: "Old", due: "2020-01-31", priority: "high" })],
          [pause, "x".repeat(500)]
        )
        yield* looking(async ({ page, resume, rests, say, sees }) => {
          const check = async (what: string) => {
            assert.deepStrictEqual(await violations(page), [], what)
            assert.isTrue(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), what)
          }
          await sees("What do you want to get done?")
          await check("empty")
          await say("Show")
          await sees("Added “Old”")
          await check("a turn that runs")
          await resume()
          await rests()
          await check("a turn that has ended")
          if (look.width !== undefined) {
            await page.getByRole("button", { name: "Conversations" }).click()
            await check("conversations")
            await page.keyboard.press("Escape")
            await page.getByRole("button", { name: /^Tasks/ }).click()
          }
          await check("tasks")
          await page.locator("#tasks").getByRole("button", { name: /^Old/ }).click()
          await check("a task")
          await page.keyboard.press("Escape")
          if (look.width !== undefined) await page.getByRole("button", { name: "Close the tasks" }).click()
          await page.evaluate("sessionStorage.clear()")
          await page.reload()
          await check("sign in")
        }, look)
      })
    )

    /** Pictures for the README, with `SCREENSHOTS=on` (`npm run docs:screenshots`). */
    it.effect.runIf(process.env["SCREENSHOTS"] === "on")("has its screenshots taken", () =>
      Effect.gen(function* () {
        const folder = path.join(root, "docs", "pictures")
        mkdirSync(folder, { recursive: true })
        yield* plays(
          "We have guests on Saturday. Plan the dinner for me.",
          [
            "A dinner for Saturday, then. I'll put what there is to do on your list. ",
            call("create_tasks", {
              tasks: [
                { title: "Invite Ana and Jonas", due: "tomorrow", priority: "high" },
                { title: "Order the fish", due: "thursday at 10", labels: ["market"] },
                { title: "Buy wine and lemons", due: "friday", labels: ["market"] }
              ]
            })
          ],
          [
            "And so that the kitchen is free in the evening: ",
            call("create_task", { title: "Set the table", due: "saturday at 15:00" })
          ],
          ["That's all. The fish can wait until Thursday, but ask Ana and Jonas ", pause, "soon."]
        )
        const { page, resume, rests, say, sees, user } = yield* visit()
        const today = yield* DateTime.now
        const others = [
          { title: "Pay the rent", due_date: DateTime.formatIsoDateUtc(DateTime.subtract(today, { days: 1 })) },
          { title: "Water the plants", repeat: "every monday and thursday" },
          { title: "Read the new contract" }
        ]
        for (const task of others) yield* send("POST", `/api/${user}/tasks`, { user, body: task })
        yield* Effect.promise(async () => {
          await page.evaluate("document.getElementById('offline-model').remove()")
          await say("We have guests on Saturday. Plan the dinner for me.")
          await sees("ask Ana and Jonas")
          await page.locator("#tasks").getByText("Set the table").waitFor()
          await page.screenshot({ path: path.join(folder, "turn.png") })
          await page.locator("#tasks").screenshot({ path: path.join(folder, "tasks.png") })
          await page.setViewportSize({ width: 390, height: 780 })
          await page.emulateMedia({ colorScheme: "dark" })
          await page.screenshot({ path: path.join(folder, "phone.png") })
          await resume()
          await rests()
        })
      }).pipe(Effect.scoped)
    )
  })
})
