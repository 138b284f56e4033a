import { HttpServerResponse } from "@effect/platform"
import { Chunk, Stream } from "effect"
import { mediaType, profile } from "../api/UiMessageChunk.ts"
import type { Cursor } from "../domain/TurnEvent.ts"
import type { Reading } from "../services/Chat.ts"
import type { Positioned } from "../services/TurnOutput.ts"
import { prefersProfile } from "./Accept.ts"
import * as StreamEvents from "./StreamEvents.ts"
import * as UiMessages from "./UiMessages.ts"

/** How one turn is written for one reader. */
export interface Encoding {
  readonly headers: Readonly<Record<string, string>>
  /** Where the turn has to be read from. */
  readonly from: Cursor
  /** What the reader gets at once. */
  readonly head: string
  readonly frame: (item: Positioned) => string
}

/**
 * A turn as server-sent events, from behind `cursor` or from its start, in the form that the `Accept` field asks for. The
 * status is 200 before the first one leaves, so whatever becomes of the turn is an event, and the last one says so. A
 * closed connection ends the reading, never the turn.
 */
export const respond = (accept: string | undefined, reading: Reading, cursor?: Cursor) => {
  const form = prefersProfile(accept, mediaType, profile) ? UiMessages : StreamEvents
  const { frame, from, head, headers } = form.encoding(reading, cursor)
  const frames = reading.output
    .events(from)
    .pipe(
      Stream.mapChunks((items) =>
        Chunk.of(Chunk.reduce(items, "", (text, item) => text + ("_tag" in item ? keepAlive : frame(item))))
      )
    )
  return HttpServerResponse.stream(Stream.encodeText(Stream.concat(Stream.succeed(opening + head), frames)), {
    headers: {
      ...headers,
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
      ...(reading.isReplay ? { "idempotent-replayed": "true" } : {})
    }
  })
}

// No empty line ends a comment: there are readers that take it for the end of an event, one without data.

// The head of the answer leaves with its first byte.
const opening = ": ok\n"

const keepAlive = ": keep-alive\n"
