import { Console, Effect, Fiber, Layer } from "effect"

/** Milliseconds for which a start may be silent. */
const patience = 2000

/** Milliseconds that a step has to take to be worth a line, however long the start has taken before it. */
const brief = 250

/**
 * Says on standard error what the program is doing, if that is not over two seconds after the program began. Standard output
 * may be somebody's answer, or a protocol's.
 */
export const saying =
  (what: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.acquireUseRelease(
      Effect.forkDaemon(
        Effect.interruptible(
          Effect.suspend(() =>
            Effect.delay(Console.error(`${what} …`), Math.max(brief, patience - process.uptime() * 1000))
          )
        )
      ),
      () => effect,
      Fiber.interrupt
    )

/** The same of a layer while it is built. It has to be used in one place only, as it is built apart from the others. */
export const layerSaying =
  (what: string) =>
  <A, E, R>(layer: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
    Layer.scopedContext(saying(what)(Layer.build(layer)))
