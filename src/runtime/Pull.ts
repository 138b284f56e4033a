import { type Chunk, Effect, type Exit, Option, Scope, Stream } from "effect"

/**
 * The source of a stream: pulled until it fails, with `None` at its end, and closed once in any case. Stands for `Stream`
 * between model, agent, turn and socket: running a stream takes hundreds of operations before its first element and dozens
 * for each further one; a source takes a few.
 * Saves: `npm run bench -- --only json,tokens --servers taskchat,stock-Pull`.
 * Delete when: `Stream.toPull` costs as little.
 */
export interface Source<A, E, R = never> {
  readonly pull: Effect.Effect<Chunk.Chunk<A>, Option.Option<E>, R>
  readonly close: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<void>
}

export const fail = <E>(error: E): Source<never, E> => ({
  pull: Effect.fail(Option.some(error)),
  close: () => Effect.void
})

const SourceId: unique symbol = Symbol.for("taskchat/runtime/Pull")

interface Sourced<A, E, R> {
  readonly [SourceId]: () => Source<A, E, R>
}

/**
 * A stream that opens a new source each time it runs. It can be used like any stream; `fromStream` takes its source out
 * again. It is one layer of stream, where `unwrapScoped` with its finalizers is three.
 */
export const toStream = <A, E, R>(open: () => Source<A, E, R>): Stream.Stream<A, E, R> => {
  const stream = Stream.suspend(() => {
    const source = open()
    return Stream.ensuringWith(Stream.repeatEffectChunkOption(source.pull), source.close)
  })
  return Object.assign(stream, { [SourceId]: open } satisfies Sourced<A, E, R>)
}

const isSourced = <A, E, R>(stream: Stream.Stream<A, E, R>): stream is Stream.Stream<A, E, R> & Sourced<A, E, R> =>
  SourceId in stream

/** The source that a stream was made from, or a source that runs the stream. */
export const fromStream = <A, E, R>(stream: Stream.Stream<A, E, R>): Source<A, E, R> => {
  if (isSourced(stream)) return stream[SourceId]()
  let scope: Scope.CloseableScope | undefined
  let pull: Source<A, E, R>["pull"] | undefined
  const open = Effect.uninterruptible(
    Effect.flatMap(Scope.make(), (made) => {
      scope = made
      return Scope.extend(Stream.toPull(stream), made)
    })
  )
  return {
    pull: Effect.suspend(
      () =>
        pull ??
        Effect.flatMap(open, (opened) => {
          pull = opened
          return opened
        })
    ),
    close: (exit) => (scope === undefined ? Effect.void : Scope.close(scope, exit))
  }
}

/** Opened by the first pull, uninterruptibly. If opening fails, there is nothing to close. */
export const suspend = <A, E, R>(open: Effect.Effect<Source<A, E, R>, E, R>): Source<A, E, R> => {
  let source: Source<A, E, R> | undefined
  const opened = Effect.uninterruptible(open).pipe(
    Effect.mapError(Option.some),
    Effect.flatMap((made) => {
      source = made
      return made.pull
    })
  )
  return {
    pull: Effect.suspend(() => source?.pull ?? opened),
    close: (exit) => source?.close(exit) ?? Effect.void
  }
}

/** As `Stream.runForEachChunk`, with a synchronous function. */
export const runForEachChunk = <A, E, R>(
  stream: Stream.Stream<A, E, R>,
  f: (chunk: Chunk.Chunk<A>) => void
): Effect.Effect<void, E, R> =>
  Effect.suspend(() => {
    const { close, pull } = fromStream(stream)
    const next: Effect.Effect<never, Option.Option<E>, R> = Effect.flatMap(pull, (chunk) => {
      f(chunk)
      return next
    })
    return Effect.onExit(
      Effect.catchAll(next, (end) => (Option.isNone(end) ? Effect.void : Effect.fail(end.value))),
      close
    )
  })
