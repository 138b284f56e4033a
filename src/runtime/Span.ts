import { Context, Effect, type Exit, FiberRef, FiberRefs, Option, Tracer } from "effect"
import * as FiberContext from "./FiberContext.ts"

/**
 * Spans that cost nothing without a tracer. Stands for `Effect.withSpan`, `Effect.fn` and `Effect.makeSpan`, which take
 * some 35 operations of a fiber even then.
 * Saves: `npm run bench -- --only json,tool --servers taskchat,stock-Span`.
 * Delete when: that row shows less than 5 %.
 */

/** As `Effect.withSpan`. */
export const withSpan =
  (name: string, options?: Tracer.SpanOptions) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiberRuntime((fiber) =>
      fiber.getFiberRef(FiberRef.currentTracerEnabled)
        ? Effect.flatMap(Effect.makeSpan(name, { captureStackTrace: false, ...options }), (span) =>
            Effect.onExit(FiberContext.provideService(Tracer.ParentSpan, span)(effect), (exit) => end(span, exit))
          )
        : effect
    )

/** As `Effect.useSpan`, for effects without inner spans. */
export const useSpan =
  (name: string, options?: Tracer.SpanOptions) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiberRuntime((fiber) =>
      fiber.getFiberRef(FiberRef.currentTracerEnabled)
        ? Effect.useSpan(name, { captureStackTrace: false, ...options }, () => effect)
        : effect
    )

/** As `Effect.annotateCurrentSpan`, before an effect. */
export const annotate =
  (attributes: Readonly<Record<string, unknown>>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiberRuntime(({ currentSpan }) => {
      if (currentSpan?._tag === "Span") {
        for (const [name, value] of Object.entries(attributes)) currentSpan.attribute(name, value)
      }
      return effect
    })

/** As `Effect.fn`. */
export const fn = (name: string): typeof Effect.fnUntraced =>
  // Safe: a span around it changes no type of `Effect.fnUntraced`.
  ((...body: Parameters<typeof Effect.fnUntraced>) => {
    const run = Effect.fnUntraced(...body) as (...args: ReadonlyArray<unknown>) => Effect.Effect<unknown>
    return (...args: ReadonlyArray<unknown>) => withSpan(name)(run(...args))
  }) as typeof Effect.fnUntraced

/** As `Effect.makeSpan`; `undefined` without a tracer. The caller must end it. */
export const make = (name: string, options?: Tracer.SpanOptions): Effect.Effect<Tracer.Span | undefined> =>
  Effect.withFiberRuntime((fiber) =>
    fiber.getFiberRef(FiberRef.currentTracerEnabled)
      ? Effect.makeSpan(name, { captureStackTrace: false, ...options })
      : Effect.succeed(undefined)
  )

export const end = (span: Tracer.Span | undefined, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  span === undefined
    ? Effect.void
    : Effect.clockWith((clock) => Effect.sync(() => span.end(clock.unsafeCurrentTimeNanos(), exit)))

/** The span of a log line: a logger gets only the fiber's references. Without a tracer there is none. */
export const parentOf = (refs: FiberRefs.FiberRefs): Option.Option<Tracer.AnySpan> =>
  Option.filter(
    Context.getOption(FiberRefs.getOrDefault(refs, FiberRef.currentContext), Tracer.ParentSpan),
    ({ spanId }) => spanId !== "noop" // Effect's own span if tracing is off
  )
