import { existsSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { assert } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { type Browser as Chromium, chromium, type Page } from "playwright-core"

const places = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
]

const executablePath = places.find((place) => existsSync(place))

/** True if the browser tests can run. Without a browser they are skipped with a message, but not in CI. */
export const hasBrowser = executablePath !== undefined || process.env["CI"] !== undefined

if (!hasBrowser) console.warn(`The browser tests are skipped: Chromium is at none of ${places.join(", ")}`)

const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync"
]

/** Chromium with a new profile. */
export class Browser extends Context.Tag("test/support/Browser")<Browser, Chromium>() {
  static readonly layer = Layer.scoped(
    Browser,
    Effect.acquireRelease(
      Effect.promise(() => {
        if (executablePath === undefined) throw new Error(`There is no browser at ${places.join(", ")}`)
        return chromium.launch({ executablePath, args })
      }),
      (browser) => Effect.promise(() => browser.close())
    )
  )
}

export interface Look {
  readonly width?: number
  readonly height?: number
  readonly colorScheme?: "light" | "dark"
}

/** A new tab in a new browser. Any error in it fails the test, also a violation of the page's content policy. */
export const open = ({ colorScheme = "light", height = 800, width = 1280 }: Look = {}) =>
  Effect.gen(function* () {
    const browser = yield* Browser
    const problems: Array<string> = []
    const context = yield* Effect.acquireRelease(
      Effect.promise(() =>
        browser.newContext({ viewport: { width, height }, colorScheme, locale: "en-GB", timezoneId: "Europe/Berlin" })
      ),
      (context) =>
        Effect.promise(async () => {
          await context.close()
          assert.deepStrictEqual(problems, [])
        })
    )
    const page = yield* Effect.promise(() => context.newPage())
    page.setDefaultTimeout(60_000)
    page.on("pageerror", (error) => problems.push(error.message))
    page.on("console", (message) => {
      // Ignore errors for refused requests and for connections that the test has cut.
      if (message.type() === "error" && !/Failed to load resource/.test(message.text())) problems.push(message.text())
    })
    return page
  })

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

/** The findings of axe. It runs in an isolated world, so the page's content policy does not change. */
export const violations = async (page: Page): Promise<unknown> => {
  const session = await page.context().newCDPSession(page)
  const { frameTree } = await session.send("Page.getFrameTree")
  const { executionContextId: contextId } = await session.send("Page.createIsolatedWorld", {
    frameId: frameTree.frame.id
  })
  await session.send("Runtime.evaluate", { expression: axe, contextId })
  const { exceptionDetails, result } = await session.send("Runtime.evaluate", {
    expression: `axe.run().then(({ passes, violations }) => {
      if (passes.length === 0) throw new Error("axe has looked at nothing")
      return violations.map(({ id, nodes }) => [id, ...nodes.map(({ failureSummary, html }) => html + failureSummary)])
    })`,
    contextId,
    awaitPromise: true,
    returnByValue: true
  })
  await session.detach()
  if (exceptionDetails !== undefined) throw new Error(exceptionDetails.text)
  return result.value
}
