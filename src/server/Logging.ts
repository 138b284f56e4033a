import { Cause, type FiberRefs, HashMap, Inspectable, Layer, Logger, LogLevel, Option, Predicate } from "effect"
import * as Span from "../runtime/Span.ts"

export interface LoggingOptions {
  readonly level: LogLevel.LogLevel
  /** When none is given: `pretty` on a terminal, else `json`. */
  readonly format: Option.Option<"json" | "pretty">
  /** Standard output when absent. */
  readonly to?: "stderr"
}

const streamOf = ({ to }: Pick<LoggingOptions, "to">) => (to === "stderr" ? process.stderr : process.stdout)

export const isJson = (options: Omit<LoggingOptions, "level">) =>
  Option.match(options.format, {
    onNone: () => !streamOf(options).isTTY,
    onSome: (chosen) => chosen === "json"
  })

/**
 * Writes the log, one line an entry. An error's own words may repeat what people wrote (a row, a
 * value that did not parse), so above `debug` it is named by its kind, its code and where it came from.
 */
export const layer = (options: LoggingOptions) => {
  const { level, to } = options
  const write = to === "stderr" ? Logger.withConsoleError : Logger.withConsoleLog
  const isDetailed = LogLevel.lessThanEqual(level, LogLevel.Debug)
  return Layer.merge(
    Logger.replace(Logger.defaultLogger, write(isJson(options) ? json(isDetailed) : pretty(isDetailed))),
    Logger.minimumLogLevel(level)
  )
}

/** The log as it leaves the process, without more than its lines hold. */
export const exported = (to: Logger.Logger<unknown, void>, { isDetailed }: { readonly isDetailed: boolean }) =>
  Logger.make((entry) => {
    const { error, text } = parts(entry.message, entry.cause, isDetailed)
    const annotations = error === undefined ? entry.annotations : HashMap.set(entry.annotations, "error", error)
    to.log({ ...entry, message: text, cause: Cause.empty, annotations })
  })

/** The span within which a line was written, where somebody traces. */
const traceOf = (context: FiberRefs.FiberRefs) =>
  Option.match(Span.parentOf(context), {
    onNone: () => ({}),
    onSome: ({ spanId, traceId }) => ({ trace_id: traceId, span_id: spanId })
  })

const json = (isDetailed: boolean) =>
  Logger.make(({ annotations, cause, context, date, logLevel, message }) => {
    const { error, text } = parts(message, cause, isDetailed)
    return JSON.stringify({
      time: date.toISOString(),
      level: logLevel.label.toLowerCase(),
      message: text,
      ...traceOf(context),
      ...Object.fromEntries(HashMap.toEntries(annotations)),
      ...(error === undefined ? {} : { error })
    })
  })

const pretty = (isDetailed: boolean) =>
  Logger.make(({ annotations, cause, date, logLevel, message }) => {
    const { error, text } = parts(message, cause, isDetailed)
    const facts = Array.from(HashMap.toEntries(annotations), ([name, value]) => `${name}=${String(value)}`)
    const line = [date.toISOString().slice(11, 23), logLevel.label, text, ...facts].join(" ")
    return error === undefined ? line : `${line}\n${error}`
  })

const parts = (message: unknown, cause: Cause.Cause<unknown>, isDetailed: boolean) => {
  const words = Array.isArray(message) ? message : [message]
  const errors = words.filter((word) => word instanceof Error)
  const all = errors.reduce<Cause.Cause<unknown>>((all, error) => Cause.parallel(all, Cause.die(error)), cause)
  return {
    text: words
      .filter((word) => !(word instanceof Error))
      .map((word) => Inspectable.toStringUnknown(word, 0))
      .join(" "),
    error: Cause.isEmpty(all) ? undefined : isDetailed ? Cause.pretty(all, { renderErrorCause: true }) : describe(all)
  }
}

const describe = (cause: Cause.Cause<unknown>) =>
  [...Cause.failures(cause), ...Cause.defects(cause)].map(name).join("\n")

/** These are raised by the engine about the program, never about its data. */
const isPlain = (error: unknown) =>
  error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError

const name = (error: unknown): string => {
  const why =
    Predicate.hasProperty(error, "cause") && error.cause !== undefined ? `\n  caused by ${name(error.cause)}` : ""
  return [kindOf(error), ...placesOf(error).slice(0, 8)].join("\n") + why
}

/** What an error is, without what it says, where that may be about someone's data. */
export const kindOf = (error: unknown): string => {
  if (!Predicate.hasProperty(error, "name") && !Predicate.isTagged(error, "Error")) return typeof error
  const kind = Predicate.hasProperty(error, "_tag")
    ? String(error._tag)
    : error instanceof Error
      ? error.name
      : typeof error
  const code = Predicate.hasProperty(error, "code") ? ` ${String(error.code)}` : ""
  return `${kind}${code}${isPlain(error) && error instanceof Error ? `: ${error.message}` : ""}`
}

/** Where an error came from: the lines of its stack, without what it says. */
export const placesOf = (error: unknown): ReadonlyArray<string> =>
  error instanceof Error ? (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line)) : []
