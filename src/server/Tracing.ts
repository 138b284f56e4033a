import * as OtlpMetrics from "@effect/opentelemetry/OtlpMetrics"
import * as OtlpSerialization from "@effect/opentelemetry/OtlpSerialization"
import * as OtlpTracer from "@effect/opentelemetry/OtlpTracer"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Cause, Effect, Exit, Layer, LogLevel, Option, Predicate, Tracer } from "effect"
import type * as Config from "../Config.ts"
import { kindOf, placesOf } from "./Logging.ts"

/** Where an exporter is set, spans and metrics go there; where none is, no spans are made. */
export const layer = ({ level, otlpEndpoint }: Config.Settings["logging"]) =>
  Option.match(otlpEndpoint, {
    onNone: () => Layer.setTracerEnabled(false),
    onSome: (endpoint) => {
      const resource = { serviceName: "taskchat" }
      const tracer = OtlpTracer.make({ url: `${endpoint}/v1/traces`, resource })
      const isDetailed = LogLevel.lessThanEqual(level, LogLevel.Debug)
      return Layer.merge(
        Layer.unwrapScoped(Effect.map(tracer, (tracer) => Layer.setTracer(isDetailed ? tracer : discreet(tracer)))),
        OtlpMetrics.layer({ url: `${endpoint}/v1/metrics`, resource })
      ).pipe(Layer.provide([OtlpSerialization.layerJson, NodeHttpClient.layerUndici]))
    }
  })

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
