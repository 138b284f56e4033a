import { Effect, Stream } from "effect"
import * as Pull from "../../dist/runtime/Pull.js"

export { fail, suspend, toStream } from "../../dist/runtime/Pull.js"

/** Runs the stream, whatever it was made of. */
export const fromStream = (stream) => Pull.fromStream(Stream.suspend(() => stream))

export const runForEachChunk = (stream, f) => Stream.runForEachChunk(stream, (chunk) => Effect.sync(() => f(chunk)))
