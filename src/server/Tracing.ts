import { Cause, Exit, Predicate, Tracer } from "effect"
import { kindOf, placesOf } from "./Logging.ts"

/**
 * Keeps what people wrote out of spans, as the log does: an error, which may repeat it, is named by its kind and by where
 * it came from, and of what is noted about a span, only plain values are kept, not such as a tool's parameters.
 */
export const discreet = (tracer: Tracer.Tracer): Tracer.Tracer =>
  Tracer.make({ context: tracer.context, span: (...given) => discreetSpan(tracer.span(...given)) })

const discreetSpan = (span: Tracer.Span): Tracer.Span =>
  Object.create(span, {
    attribute: {
      value: (name: string, value: unknown) => {
        if (!Predicate.isObject(value)) span.attribute(name, value)
      }
    },
    end: {
      value: (endTime: bigint, exit: Exit.Exit<unknown, unknown>) =>
        span.end(endTime, Exit.isFailure(exit) ? Exit.failCause(named(exit.cause)) : exit)
    }
  })

const named = (cause: Cause.Cause<unknown>): Cause.Cause<unknown> =>
  Cause.match(cause, {
    onEmpty: Cause.empty,
    onFail: (error): Cause.Cause<unknown> => Cause.fail(nameless(error)),
    onDie: (defect) => Cause.die(nameless(defect)),
    onInterrupt: Cause.interrupt,
    onSequential: Cause.sequential,
    onParallel: Cause.parallel
  })

const nameless = (error: unknown) => {
  const kind = kindOf(error)
  const plain = new Error(kind)
  plain.name = kind
  plain.stack = [kind, ...placesOf(error)].join("\n")
  return plain
}
