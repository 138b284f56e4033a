import * as OtlpLogger from "@effect/opentelemetry/OtlpLogger"
import * as OtlpMetrics from "@effect/opentelemetry/OtlpMetrics"
import * as OtlpSerialization from "@effect/opentelemetry/OtlpSerialization"
import * as OtlpTracer from "@effect/opentelemetry/OtlpTracer"
import { HttpClient, HttpClientError } from "@effect/platform"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import {
  Cause,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  Option,
  Predicate,
  Schedule,
  Tracer
} from "effect"
import * as Config from "../Config.ts"
import { isProblem } from "../domain/Problem.ts"
import * as Sampled from "../runtime/Sampled.ts"
import * as Cli from "./Cli.ts"
import * as Logging from "./Logging.ts"

/** Exports spans, metrics and logs over OTLP. */
export const layer = (endpoint: string, { level, otlp }: Config.Settings["logging"]) => {
  const to = (signal: "traces" | "metrics" | "logs") => ({
    url: `${endpoint}/v1/${signal}`,
    headers: Option.match(otlp.headers, { onNone: () => ({}), onSome: Config.headersIn }),
    // For the last export at shutdown. The default of 3 seconds is too short.
    shutdownTimeout: Duration.seconds(10),
    resource: {
      serviceName: otlp.serviceName,
      serviceVersion: Cli.version,
      attributes: { "service.instance.id": instanceId }
    }
  })
  const options = { isDetailed: LogLevel.lessThanEqual(level, LogLevel.Debug) }
  return Layer.mergeAll(
    Layer.unwrapScoped(
      Effect.map(OtlpTracer.make(to("traces")), (tracer) => Layer.setTracer(exported(tracer, options)))
    ),
    OtlpMetrics.layer(to("metrics")),
    Layer.scopedDiscard(Effect.forkScoped(Effect.repeat(Sampled.takeAll, Schedule.spaced("5 seconds")))),
    Logger.addScoped(Effect.map(OtlpLogger.make(to("logs")), (logger) => Logging.exported(logger, options)))
  ).pipe(Layer.provide([OtlpSerialization.layerJson, Layer.provide(uninterrupted, NodeHttpClient.layerUndici)]))
}

/**
 * Completes an export that is in flight at shutdown. The library (0.64) would interrupt it and not send its data again.
 */
const uninterrupted = Layer.effect(
  HttpClient.HttpClient,
  Effect.map(
    HttpClient.HttpClient,
    HttpClient.transform((sending, request) =>
      sending.pipe(
        Effect.timeoutFail({
          duration: "10 seconds",
          onTimeout: () => new HttpClientError.RequestError({ request, reason: "Transport", description: "No answer" })
        }),
        Effect.interruptible,
        Effect.forkDaemon,
        Effect.flatMap(Fiber.join),
        Effect.uninterruptible
      )
    )
  )
)

const instanceId = crypto.randomUUID()

export interface ExportOptions {
  /** True if errors and values may contain text that users wrote. */
  readonly isDetailed: boolean
}

/**
 * Changes spans for export. Names and attributes follow OpenTelemetry. Of the headers, only a few are exported. An
 * error is exported as its kind and stack, because its message may contain text that users wrote. Attributes with
 * objects, such as a tool's parameters, are dropped. SQL statements outside a request are dropped, because an idle node
 * runs some every second.
 */
export const exported = (tracer: Tracer.Tracer, options: ExportOptions): Tracer.Tracer =>
  Tracer.make({
    context: tracer.context,
    span: (name, parent, context, links, startTime, kind, more) => {
      const span = tracer.span(name, parent, context, links, startTime, kind, more)
      const isWanted = Option.match(parent, { onNone: () => kind !== "client", onSome: ({ sampled }) => sampled })
      // Changes the new span in place. A wrapper object would cost more than all other work on the span.
      return Object.assign(span, isWanted ? exporting(span, options) : { sampled: false, end: () => {} })
    }
  })

/** Headers without information about the sender. */
const headers = new Set(["content-length", "content-type", "retry-after"])

const isPrivate = (attribute: string) => {
  const [, header] = /^http\.(?:request|response)\.header\.(.*)$/.exec(attribute) ?? []
  return header !== undefined && !headers.has(header)
}

/** The attributes that form the name of a span, such as `POST /api/{user_id}/chat` and `chat gpt-4.1-mini`. */
const nameParts = [
  ["http.request.method", "http.route"],
  ["gen_ai.operation.name", "gen_ai.request.model", "gen_ai.tool.name"]
]

const exporting = (span: Tracer.Span, { isDetailed }: ExportOptions): Pick<Tracer.Span, "attribute" | "end"> => {
  const attribute = span.attribute.bind(span)
  const end = span.end.bind(span)
  return {
    attribute: (name, value) => {
      if (isPrivate(name) || (!isDetailed && Predicate.isObject(value))) return
      attribute(name, name === "http.route" ? templateOf(String(value)) : value)
      const parts = nameParts.find((parts) => parts.includes(name))
      if (parts === undefined) return
      const values = parts.map((part) => span.attributes.get(part)).filter(Predicate.isString)
      Object.assign(span, { name: values.join(" ") })
    },
    end: (endTime, exit) => {
      if (Exit.isSuccess(exit) || isRefusal(exit.cause)) return end(endTime, Exit.void)
      end(endTime, isDetailed ? exit : Exit.failCause(redacted(exit.cause)))
    }
  }
}

/** Turns `/api/:user_id/chat` into `/api/{user_id}/chat`. */
const templateOf = (route: string) => route.replaceAll(/:(\w+)/g, "{$1}")

/** A client error (4xx) is not an error of the span. */
const isRefusal = (cause: Cause.Cause<unknown>) =>
  Cause.isFailType(cause) && isProblem(cause.error) && cause.error.about.status < 500

const redacted = (cause: Cause.Cause<unknown>): Cause.Cause<unknown> =>
  Cause.match(cause, {
    onEmpty: Cause.empty,
    onFail: (error): Cause.Cause<unknown> => Cause.fail(withoutMessage(error)),
    onDie: (defect) => Cause.die(withoutMessage(defect)),
    onInterrupt: Cause.interrupt,
    onSequential: Cause.sequential,
    onParallel: Cause.parallel
  })

const withoutMessage = (error: unknown) => {
  const kind = Logging.kindOf(error)
  const plain = new Error(kind)
  plain.name = kind
  plain.stack = [kind, ...Logging.placesOf(error)].join("\n")
  return plain
}
