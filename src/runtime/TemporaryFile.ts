import { randomUUID } from "node:crypto"
import { type FileHandle, open, unlink } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Chunk, Data, Effect, Option, type Scope, Stream } from "effect"

/** The disk is full, or the folder for temporary files cannot be written to. */
export class NoTemporaryFile extends Data.TaggedError("NoTemporaryFile")<{ readonly cause: unknown }> {}

/** A file that nobody else can open: it has no name, so that it is gone with this process at the latest. */
export interface TemporaryFile {
  /** Adds text at the end. */
  readonly append: (text: string) => Effect.Effect<void, NoTemporaryFile>
  /** All of it, from the start. A piece is read when the one before was taken. */
  readonly bytes: Stream.Stream<Uint8Array, NoTemporaryFile>
}

const pieceSize = 64 * 1024

const attempt = <A>(run: () => Promise<A>) =>
  Effect.tryPromise({ try: run, catch: (cause) => new NoTemporaryFile({ cause }) })

/** In the system's folder for such files (`TMPDIR`), closed with the scope. */
export const make: Effect.Effect<TemporaryFile, NoTemporaryFile, Scope.Scope> = Effect.map(
  Effect.acquireRelease(attempt(openNameless), (file) => Effect.promise(() => file.close())),
  (file) => ({
    append: (text) => Effect.asVoid(attempt(() => file.appendFile(text))),
    bytes: Stream.unfoldChunkEffect(0, (position) =>
      Effect.map(
        attempt(() => file.read(Buffer.allocUnsafe(pieceSize), 0, pieceSize, position)),
        ({ buffer, bytesRead }) =>
          bytesRead === 0
            ? Option.none()
            : Option.some([Chunk.of<Uint8Array>(buffer.subarray(0, bytesRead)), position + bytesRead] as const)
      )
    )
  })
)

async function openNameless(): Promise<FileHandle> {
  const path = join(tmpdir(), `taskchat-${randomUUID()}`)
  const file = await open(path, "wx+", 0o600)
  await unlink(path)
  return file
}
