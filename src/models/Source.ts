import { type Chunk, Effect, Exit, Option, Scope, Stream } from "effect"

/** What a stream is made of: pulled until it fails, with `None` at its end, and closed once, however it ends. */
export interface Source<A, E> {
  readonly pull: Effect.Effect<Chunk.Chunk<A>, Option.Option<E>>
  readonly close: Effect.Effect<void>
}

export const fail = <E>(error: E): Source<never, E> => ({ pull: Effect.fail(Option.some(error)), close: Effect.void })

export const fromStream = <A, E>(stream: Stream.Stream<A, E>): Effect.Effect<Source<A, E>> =>
  Effect.flatMap(Scope.make(), (scope) =>
    Effect.map(Scope.extend(Stream.toPull(stream), scope), (pull) => ({ pull, close: Scope.close(scope, Exit.void) }))
  )

/**
 * Opened at the first pull; `onEnd` runs after it was closed, or could not be opened. One layer of stream in place of the
 * three of `unwrapScoped` and its finalizers, each of which costs as much as the request.
 */
export const toStream = <A, E, R>(
  open: Effect.Effect<Source<A, E>, E, R>,
  onEnd: (exit: Exit.Exit<unknown, E>) => void = () => {}
): Stream.Stream<A, E, R> =>
  Stream.suspend(() => {
    let source: Source<A, E> | undefined
    const opened = Effect.uninterruptible(open).pipe(
      Effect.mapError(Option.some),
      Effect.flatMap((made) => {
        source = made
        return made.pull
      })
    )
    return Stream.repeatEffectChunkOption(Effect.suspend(() => source?.pull ?? opened)).pipe(
      Stream.ensuringWith((exit) =>
        Effect.zipRight(
          source?.close ?? Effect.void,
          Effect.sync(() => onEnd(exit))
        )
      )
    )
  })
