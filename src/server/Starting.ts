import { Console, Effect, Fiber, Layer } from "effect"

/** Milliseconds after the start of the process before a step is reported. */
const startMillis = 2000

/** Milliseconds that a step must take to be reported. */
const stepMillis = 250

/**
 * Reports a step on standard error if it is still running two seconds after the process started. Standard output may
 * belong to a protocol or a script.
 */
export const withProgress =
  (what: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.acquireUseRelease(
      Effect.forkDaemon(
        Effect.interruptible(
          Effect.suspend(() =>
            Effect.delay(Console.error(`${what} …`), Math.max(stepMillis, startMillis - process.uptime() * 1000))
          )
        )
      ),
      () => effect,
      Fiber.interrupt
    )

/**
 * Reports the building of a layer. Use the result in one place only, because it is built separately from other layers.
 */
export const layerWithProgress =
  (what: string) =>
  <A, E, R>(layer: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
    Layer.scopedContext(withProgress(what)(Layer.build(layer)))
