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

/** Spans, metrics and logs go to an exporter. */
export const layer = (endpoint: string, { level, otlp }: Config.Settings["logging"]) => {
  const to = (signal: "traces" | "metrics" | "logs") => ({
    url: `${endpoint}/v1/${signal}`,
    headers: Option.match(otlp.headers, { onNone: () => ({}), onSome: Config.headersIn }),
    // What a stop leaves to send; the library gives up after 3 seconds.
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
  ).pipe(Layer.provide([OtlpSerialization.layerJson, Layer.provide(patient, NodeHttpClient.layerUndici)]))
}

/**
 * What is being sent when the service stops is sent to its end: the library interrupts it, and has nothing of it left for its
 * last request. (0.64)
 */
const patient = Layer.effect(
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
  /** Whether errors and values may say what people wrote. */
  readonly isDetailed: boolean
}

/**
 * Spans as they leave the process. Names and attributes are OpenTelemetry's; of headers there are a few. Errors, which may
 * repeat what people wrote, are named by their kind and where they came from, and only plain values are kept, not such as a
 * tool's parameters. Statements of nobody's request, of which an idle node has some every second, are left out.
 */
export const exported = (tracer: Tracer.Tracer, options: ExportOptions): Tracer.Tracer =>
  Tracer.make({
    context: tracer.context,
    span: (name, parent, context, links, startTime, kind, more) => {
      const span = tracer.span(name, parent, context, links, startTime, kind, more)
      const isWanted = Option.match(parent, { onNone: () => kind !== "client", onSome: ({ sampled }) => sampled })
      // Nobody else has it yet. As the prototype of another object it would cost more than all else that is done to it.
      return Object.assign(span, isWanted ? exporting(span, options) : { sampled: false, end: () => {} })
    }
  })

/** Headers that say nothing of whoever sent them. */
const headers = new Set(["content-length", "content-type", "retry-after"])

const isSecretive = (attribute: string) => {
  const [, header] = /^http\.(?:request|response)\.header\.(.*)$/.exec(attribute) ?? []
  return header !== undefined && !headers.has(header)
}

/** The attributes that spans of each kind are called by, such as `POST /api/{user_id}/chat` and `chat gpt-4.1-mini`. */
const nameParts = [
  ["http.request.method", "http.route"],
  ["gen_ai.operation.name", "gen_ai.request.model", "gen_ai.tool.name"]
]

const exporting = (span: Tracer.Span, { isDetailed }: ExportOptions): Pick<Tracer.Span, "attribute" | "end"> => {
  const attribute = span.attribute.bind(span)
  const end = span.end.bind(span)
  return {
    attribute: (name, value) => {
      if (isSecretive(name) || (!isDetailed && Predicate.isObject(value))) return
      attribute(name, name === "http.route" ? templateOf(String(value)) : value)
      const parts = nameParts.find((parts) => parts.includes(name))
      if (parts === undefined) return
      const known = parts.map((part) => span.attributes.get(part)).filter(Predicate.isString)
      Object.assign(span, { name: known.join(" ") })
    },
    end: (endTime, exit) => {
      if (Exit.isSuccess(exit) || isRefusal(exit.cause)) return end(endTime, Exit.void)
      end(endTime, isDetailed ? exit : Exit.failCause(named(exit.cause)))
    }
  }
}

/** `/api/:user_id/chat` as OpenAPI has it. */
const templateOf = (route: string) => route.replaceAll(/:(\w+)/g, "{$1}")

/** Whoever asked is told what was wrong with that: nothing is wrong here. */
const isRefusal = (cause: Cause.Cause<unknown>) =>
  Cause.isFailType(cause) && isProblem(cause.error) && cause.error.about.status < 500

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
  const kind = Logging.kindOf(error)
  const plain = new Error(kind)
  plain.name = kind
  plain.stack = [kind, ...Logging.placesOf(error)].join("\n")
  return plain
}
