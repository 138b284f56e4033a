import { HttpServerResponse } from "@effect/platform"
import { Chunk, Effect } from "effect"
import { mediaType, profile } from "../../api/UiMessageChunk.ts"
import type { Cursor } from "../../domain/TurnEvent.ts"
import * as Pull from "../../runtime/Pull.ts"
import type { Reading } from "../../services/turns/Chat.ts"
import type { Positioned, Silence } from "../../services/turns/TurnOutput.ts"
import { prefersProfile } from "../Accept.ts"
import * as StreamEvents from "./StreamEvents.ts"
import * as UiMessages from "./UiMessages.ts"

/** The encoder of one turn for one reader. */
export interface Encoding {
  readonly headers: Readonly<Record<string, string>>
  /** Where to begin reading the turn. */
  readonly from: Cursor
  /** Sent at once. */
  readonly head: string
  readonly frame: (item: Positioned) => string
}

/**
 * A turn as server-sent events, after `cursor` or from its start, in the format that `Accept` asks for. The status is 200
 * before the first event, so a later failure is the last event. A closed connection ends the reading, never the turn.
 */
export const respond = (
  accept: string | undefined,
  reading: Reading,
  cursor?: Cursor,
  continued?: UiMessages.Continued
) => {
  const form = prefersProfile(accept, mediaType, profile) ? UiMessages : StreamEvents
  const { frame, from, head, headers } = form.encoding(reading, cursor, continued)
  const written = (text: string, item: Positioned | Silence) => text + ("_tag" in item ? keepAlive : frame(item))
  // A source, since each further stream layer would double the cost per token.
  const bytes = Pull.toStream(() => {
    const { close, pull } = reading.output.reader(from, (items) => encode(items.reduce(written, "")))
    let next: typeof pull = Effect.suspend(() => {
      next = pull
      return Effect.succeed(encode(opening + head))
    })
    return { close, pull: Effect.suspend(() => next) }
  })
  return HttpServerResponse.stream(bytes, {
    headers: {
      ...headers,
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
      ...(reading.isReplay ? { "idempotent-replayed": "true" } : {})
    }
  })
}

const encoder = new TextEncoder()

const encode = (text: string) => (text === "" ? Chunk.empty() : Chunk.of(encoder.encode(text)))

// Without an empty line after a comment: some readers take it for the end of an event without data.

// The response headers are sent with its first byte.
const opening = ": ok\n"

const keepAlive = ": keep-alive\n"
