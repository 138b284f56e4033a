import { HttpServerResponse } from "@effect/platform"
import { Effect } from "effect"
import { accepts, names } from "../Accept.ts"

/** Refuses invalid messages before the SDK sees them. */
export const refusal = (code: -32700 | -32600, message: string) =>
  HttpServerResponse.unsafeJson({ jsonrpc: "2.0", id: null, error: { code, message } }, { status: 400 })

/** The only revision with batches. Its clients do not send the revision's header yet. */
const batchRevision = "2025-03-26"

/** The reason to refuse an array of messages, if any. */
export const batchRefusal = (messages: ReadonlyArray<unknown>, revision = batchRevision) => {
  if (revision !== batchRevision) return refusal(-32600, "This revision has no batches: send one message per request")
  return messages.length === 0 ? refusal(-32600, "A batch needs at least one message") : undefined
}

/** The format of the answer. Clients of the protocol must accept both; those that ask for JSON or anything get JSON. */
export const formFor = (accept: string | undefined): "stream" | "json" | undefined => {
  if (names(accept, "text/event-stream")) return "stream"
  return accepts(accept, "application/json") ? "json" : undefined
}

/** The messages of an answer as JSON: one, or an array for a batch. */
export const asJson = (response: Response, isBatch: boolean) =>
  response.headers.get("content-type")?.startsWith("text/event-stream") !== true
    ? Effect.succeed(HttpServerResponse.fromWeb(response))
    : Effect.map(
        Effect.promise(() => response.text()),
        (events) => {
          const messages = Array.from(events.matchAll(/^data: (.+)$/gm), ([, data = ""]) => data)
          const body = isBatch ? `[${messages.join(",")}]` : (messages.at(-1) ?? "")
          return HttpServerResponse.text(body, { status: response.status, contentType: "application/json" })
        }
      )
