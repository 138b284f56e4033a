import { assert, describe, it } from "@effect/vitest"
import { retryDelay } from "../../src/domain/RetryDelay.ts"

const date = "Mon, 30 Nov 2026 12:00:00 GMT"
const said = (message: string) => ({ error: { message } })

const table: ReadonlyArray<readonly [string, Readonly<Record<string, string>>, unknown, number | undefined]> = [
  ["seconds", { "retry-after": "7" }, {}, 7],
  ["parts of a second", { "retry-after": "0.5" }, {}, 0.5],
  ["milliseconds", { "retry-after-ms": "1500", "retry-after": "9" }, {}, 1.5],
  ["a date, against the sender's clock", { "retry-after": "Mon, 30 Nov 2026 12:01:30 GMT", date }, {}, 90],
  ["a date that is over", { "retry-after": "Mon, 30 Nov 2026 11:00:00 GMT", date }, {}, 0],
  ["more seconds than the database can store", { "retry-after": "999999999999" }, {}, 2 ** 31 - 1],
  ["a date in a distant year", { "retry-after": "Fri, 31 Dec 9999 23:59:59 GMT", date }, {}, 2 ** 31 - 1],
  ["a duration", { "retry-after": "2m59.56s" }, {}, 179.56],
  [
    "a used-up limit that resets",
    { "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s" },
    {},
    360
  ],
  [
    "the longest of two limits",
    {
      "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-reset-requests": "1s",
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "20ms"
    },
    {},
    1
  ],
  [
    "Anthropic's reset time",
    { "anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2026-11-30T12:00:20Z", date },
    {},
    20
  ],
  [
    "a limit that is not used up",
    { "x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "9s" },
    {},
    undefined
  ],
  ["a member", {}, { error: { retry_after: 3 } }, 3],
  ["Google's", {}, [{ error: { details: [{ "@type": "RetryInfo", retryDelay: "34.5s" }] } }], 34.5],
  ["words with units", {}, said("Please try again in 7m12s. Visit us."), 432],
  ["words in full", {}, said("Rate limited. Please retry after 2 minutes."), 120],
  ["words with milliseconds", {}, said("Please try again in 20ms."), 0.02],
  ["words about something else", {}, said("The context has 4096 tokens."), undefined],
  ["nothing", {}, undefined, undefined],
  ["nonsense", { "retry-after": "soon" }, said("Retry in a while."), undefined]
]

describe("RetryDelay", () => {
  for (const [what, headers, body, seconds] of table) {
    it(`${what}: ${seconds ?? "none"}`, () => {
      const found = retryDelay(headers, body)
      if (seconds === undefined) assert.isUndefined(found)
      else assert.approximately(found ?? Number.NaN, seconds, 1e-9)
    })
  }
})
