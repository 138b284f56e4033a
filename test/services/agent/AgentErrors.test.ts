import { AiError } from "@effect/ai"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Option } from "effect"
import { fromAiError, isTransient } from "../../../src/services/agent/AgentErrors.ts"

const where = {
  module: "Model",
  method: "streamText",
  request: { method: "POST" as const, url: "http://model/v1", urlParams: [], hash: Option.none(), headers: {} }
}
const status = (code: number, headers: Record<string, string> = {}, body?: string) =>
  new AiError.HttpResponseError({
    ...where,
    reason: "StatusCode",
    response: { status: code, headers },
    ...(body !== undefined && { body })
  })
const unread = (reason: "Decode" | "EmptyBody") =>
  new AiError.HttpResponseError({ ...where, reason, response: { status: 200, headers: {} } })
const request = (reason: "Transport" | "Encode" | "InvalidUrl", cause?: unknown) =>
  new AiError.HttpRequestError({ ...where, reason, cause })
const body = (error: unknown) => JSON.stringify({ error })

const table: ReadonlyArray<[string, AiError.AiError, object, "transient" | "lasting"]> = [
  ["408", status(408), { _tag: "AgentSlow" }, "transient"],
  ["504", status(504), { _tag: "AgentSlow" }, "transient"],
  ["silence", request("Transport", new Cause.TimeoutException()), { _tag: "AgentSlow" }, "lasting"],
  ["429", status(429), { _tag: "AgentBusy" }, "transient"],
  ["503", status(503, { "retry-after": "30" }), { _tag: "AgentBusy", retryAfter: 30 }, "transient"],
  ["529", status(529), { _tag: "AgentBusy" }, "transient"],
  ["seconds", status(429, { "retry-after": "7" }), { _tag: "AgentBusy", retryAfter: 7 }, "transient"],
  ["parts of seconds", status(429, { "retry-after": "0.2" }), { _tag: "AgentBusy", retryAfter: 1 }, "transient"],
  [
    "milliseconds",
    status(429, { "retry-after-ms": "1500", "retry-after": "9" }),
    { _tag: "AgentBusy", retryAfter: 2 },
    "transient"
  ],
  [
    "a date, by the sender's clock",
    status(429, { "retry-after": "Wed, 21 Oct 2015 07:28:10 GMT", date: "Wed, 21 Oct 2015 07:28:00 GMT" }),
    { _tag: "AgentBusy", retryAfter: 10 },
    "transient"
  ],
  [
    "a date that is past",
    status(429, { "retry-after": "Wed, 21 Oct 2015 07:28:00 GMT", date: "Wed, 21 Oct 2015 07:29:00 GMT" }),
    { _tag: "AgentBusy", retryAfter: 0 },
    "transient"
  ],
  [
    "a date without the sender's clock",
    status(429, { "retry-after": "Wed, 21 Oct 2015 07:28:10 GMT" }),
    { _tag: "AgentBusy" },
    "transient"
  ],
  ["nonsense", status(429, { "retry-after": "soon" }), { _tag: "AgentBusy" }, "transient"],
  ["a negative time", status(429, { "retry-after": "-5" }), { _tag: "AgentBusy" }, "transient"],
  [
    "the quota by code",
    status(429, {}, body({ code: "insufficient_quota" })),
    { _tag: "AgentMisconfigured" },
    "lasting"
  ],
  [
    "the quota by type",
    status(429, {}, body({ type: "insufficient_quota" })),
    { _tag: "AgentMisconfigured" },
    "lasting"
  ],
  [
    "the quota only in the message",
    status(429, {}, body({ message: "insufficient_quota" })),
    { _tag: "AgentBusy" },
    "transient"
  ],
  ["the quota outside of JSON", status(429, {}, "insufficient_quota"), { _tag: "AgentBusy" }, "transient"],
  ["no credit", status(402), { _tag: "AgentMisconfigured" }, "lasting"],
  [
    "no credit at Anthropic, only in the message",
    status(400, {}, body({ type: "invalid_request_error", message: "Your credit balance is too low to continue." })),
    { _tag: "AgentMisconfigured" },
    "lasting"
  ],
  ["401", status(401), { _tag: "AgentMisconfigured" }, "lasting"],
  ["403", status(403), { _tag: "AgentMisconfigured" }, "lasting"],
  ["404", status(404), { _tag: "AgentMisconfigured" }, "lasting"],
  ["a wrong address", request("InvalidUrl"), { _tag: "AgentMisconfigured" }, "lasting"],
  ["the network", request("Transport"), { _tag: "AgentUnreachable" }, "transient"],
  ["a body that breaks off", unread("Decode"), { _tag: "AgentUnreachable" }, "transient"],
  ["a body that is empty", unread("EmptyBody"), { _tag: "AgentFailed" }, "lasting"],
  ["a request that cannot be written", request("Encode"), { _tag: "AgentFailed" }, "lasting"],
  ["400", status(400), { _tag: "AgentFailed" }, "lasting"],
  ["422", status(422), { _tag: "AgentFailed" }, "lasting"],
  ["500", status(500), { _tag: "AgentFailed" }, "transient"],
  ["502", status(502), { _tag: "AgentFailed" }, "transient"],
  ["malformed output", new AiError.MalformedOutput({ ...where }), { _tag: "AgentFailed" }, "lasting"],
  ["malformed input", new AiError.MalformedInput({ ...where }), { _tag: "AgentFailed" }, "lasting"],
  ["an unknown error", new AiError.UnknownError({ ...where }), { _tag: "AgentFailed" }, "lasting"]
]

describe("AgentErrors", () => {
  for (const [what, error, expected, lasting] of table) {
    it(`${what}: ${JSON.stringify(expected)}, ${lasting}`, () => {
      const { _tag, ...fields } = fromAiError(error)
      const retryAfter = "retryAfter" in fields ? fields.retryAfter : undefined
      assert.deepStrictEqual({ _tag, ...(retryAfter !== undefined && { retryAfter }) }, expected)
      assert.strictEqual(isTransient(error), lasting === "transient")
    })
  }
})
