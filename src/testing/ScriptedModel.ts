import { AiError, LanguageModel, type Prompt, type Response } from "@effect/ai"
import {
  Cause,
  Chunk,
  Context,
  Data,
  type Duration,
  Effect,
  Layer,
  Option,
  Queue,
  Stream,
  SubscriptionRef
} from "effect"
import * as ToolCalls from "../models/ToolCalls.ts"
import * as Pull from "../runtime/Pull.ts"
import * as StreamText from "../runtime/StreamText.ts"

/** One action of a model within an answer. A string is a streamed piece of text. */
export type Piece =
  | string
  | Data.TaggedEnum<{
      Call: { readonly tool: string; readonly arguments: string; readonly id: string | undefined }
      Wait: { readonly until: Effect.Effect<unknown> }
      Pause: {}
      Fault: { readonly error: AiError.AiError }
      Cut: {}
      Used: { readonly inputTokens: number | undefined; readonly outputTokens: number | undefined }
    }>

/** One answer of the model, which is one step of a turn. */
export type Answer = Piece | ReadonlyArray<Piece>

/** A request to the model. */
export interface Asked {
  readonly prompt: ReadonlyArray<Prompt.Message>
  /** The first system message. */
  readonly instructions: string
  /** The last user message. */
  readonly message: string
  /** The tool results after that message, in order. */
  readonly results: ReadonlyArray<{ readonly id: string; readonly tool: string; readonly result: unknown }>
  /** The names of the offered tools. */
  readonly tools: ReadonlyArray<string>
  /** False if the answer must be text. */
  readonly mayCallTools: boolean
}

/**
 * A list of answers, used in the order of the requests of all turns. A request after the last answer is a defect. Or a
 * function, which should be pure, because several turns may call it concurrently.
 */
export type Script = ReadonlyArray<Answer> | ((asked: Asked) => Answer)

const { Call, Cut, Fault, Pause, Used, Wait } = Data.taggedEnum<Exclude<Piece, string>>()

/** A tool call. A string as `parameters` is sent unchanged as its arguments. Default ids are numbered. */
export const call = (tool: string, parameters: object | string = {}, id?: string): Piece =>
  Call({ tool, arguments: typeof parameters === "string" ? parameters : JSON.stringify(parameters), id })

/** Waits for a duration, by the `Clock`. */
export const delay = (duration: Duration.DurationInput): Piece => Wait({ until: Effect.sleep(duration) })

/** Waits until `effect` has succeeded. */
export const wait = (effect: Effect.Effect<unknown>): Piece => Wait({ until: effect })

/** Waits forever. */
export const silence: Piece = Wait({ until: Effect.never })

/** Waits until the test runs `resume`. */
export const pause: Piece = Pause()

/** Fails with an error: one of the `faults`, or any other. */
export const fail = (error: AiError.AiError): Piece => Fault({ error })

/** Ends the stream without a finish part. */
export const cut: Piece = Cut()

/** The usage of the answer. By default, one token per message of the prompt and per piece of the answer. */
export const used = (inputTokens: number, outputTokens: number): Piece => Used({ inputTokens, outputTokens })

/** The answer reports no usage. */
export const unreported: Piece = Used({ inputTokens: undefined, outputTokens: undefined })

const about = { module: "ScriptedModel", method: "streamText" }
const request = { method: "POST" as const, url: "http://model.test/", urlParams: [], hash: Option.none(), headers: {} }

const transport = (cause: unknown) => new AiError.HttpRequestError({ ...about, reason: "Transport", request, cause })

/** Failures of a provider. */
export const faults = {
  /** An HTTP error with this status. */
  status: (status: number, headers: Readonly<Record<string, string>> = {}, body?: string) =>
    new AiError.HttpResponseError({
      ...about,
      reason: "StatusCode",
      request,
      response: { status, headers },
      ...(body !== undefined && { body })
    }),
  /** 429, optionally with `Retry-After` in seconds. */
  busy: (retryAfter?: number) =>
    faults.status(429, retryAfter === undefined ? {} : { "retry-after": String(retryAfter) }),
  /** Connection refused. */
  unreachable: transport(new Error("ECONNREFUSED")),
  /** The idle timeout of the provider. */
  silent: transport(new Cause.TimeoutException()),
  /** The connection broke within the answer. */
  cutOff: new AiError.HttpResponseError({
    ...about,
    reason: "Decode",
    request,
    response: { status: 200, headers: {} }
  }),
  /** The answer is malformed. */
  malformed: new AiError.MalformedOutput({ ...about, description: "Malformed" })
}

/** Controls and observes the model in a test. */
export class ScriptedModel extends Context.Tag("taskchat/testing/ScriptedModel")<
  ScriptedModel,
  {
    /** The requests so far, oldest first. */
    readonly asked: Effect.Effect<ReadonlyArray<Asked>>
    /** Waits for this number of requests. After that, the test may move the clock. */
    readonly untilAsked: (times: number) => Effect.Effect<void>
    /** Ends the next `pause`, now or when the script reaches it. */
    readonly resume: Effect.Effect<void>
    /** The number of answers that their reader interrupted. */
    readonly interrupted: Effect.Effect<number>
    /** The number of answers in progress. */
    readonly open: Effect.Effect<number>
  }
>() {}

/** A model without a network that follows a script. */
export const layer = (script: Script): Layer.Layer<LanguageModel.LanguageModel | ScriptedModel> =>
  Layer.effectContext(make(script))

const make = (script: Script) =>
  Effect.gen(function* () {
    const permits = yield* Queue.unbounded<void>()
    const asked: Array<Asked> = []
    const times = yield* SubscriptionRef.make(0)
    let [answers, calls, interrupted, open] = [0, 0, 0, 0]

    const next = (given: Asked): Effect.Effect<ReadonlyArray<Piece>> =>
      Effect.suspend(() => {
        const answer = typeof script === "function" ? script(given) : script[answers++]
        if (answer === undefined) return Effect.dieMessage("The script is over")
        return Effect.succeed(isPiece(answer) ? [answer] : answer)
      })

    const partsOf = (piece: Piece): Stream.Stream<StreamText.Part, AiError.AiError> => {
      if (typeof piece === "string") return Stream.succeed({ type: "text-delta", id: "text", delta: piece })
      switch (piece._tag) {
        case "Call":
          return Stream.sync(() => {
            const id = piece.id ?? `call_${++calls}`
            return { type: "tool-call", id, name: piece.tool, params: ToolCalls.argumentsOf(piece.arguments) }
          })
        case "Wait":
          return Stream.execute(piece.until)
        case "Pause":
          return Stream.execute(Queue.take(permits))
        case "Fault":
          return Stream.fail(piece.error)
        case "Cut":
        case "Used":
          return Stream.empty
      }
    }

    const streamText = (options: StreamText.Request) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const given = read(options)
          asked.push(given)
          yield* SubscriptionRef.set(times, asked.length)
          const pieces = yield* next(given)
          const cutAt = pieces.findIndex((piece) => typeof piece !== "string" && piece._tag === "Cut")
          const played = cutAt < 0 ? pieces : pieces.slice(0, cutAt)
          let isOver = false
          const over = Effect.sync(() => {
            isOver = true
          })
          open++
          return Stream.succeed<StreamText.Part>({ type: "text-start", id: "text" }).pipe(
            Stream.concat(Stream.flatMap(Stream.rechunk(Stream.fromIterable(played), 1), partsOf)),
            Stream.concat(Stream.fromIterable(cutAt < 0 ? endOf(options, pieces) : [])),
            Stream.concat(Stream.execute(over)),
            Stream.tapError(() => over),
            Stream.ensuring(
              Effect.sync(() => {
                open--
                if (!isOver) interrupted++
              })
            )
          )
        })
      )

    const model = yield* LanguageModel.make({
      streamText,
      generateText: (options) => Effect.map(Stream.runCollect(streamText(options)), whole)
    })
    const direct = StreamText.make(model, { provider: "taskchat", model: "scripted" }, (options) =>
      Effect.sync(() => Pull.fromStream(streamText(options)))
    )
    return Context.make(LanguageModel.LanguageModel, direct).pipe(
      Context.add(ScriptedModel, {
        asked: Effect.sync(() => [...asked]),
        untilAsked: (count) =>
          times.changes.pipe(
            Stream.takeUntil((n) => n >= count),
            Stream.runDrain
          ),
        resume: Effect.asVoid(Queue.offer(permits, undefined)),
        interrupted: Effect.sync(() => interrupted),
        open: Effect.sync(() => open)
      })
    )
  })

const isPiece = (answer: Answer): answer is Piece => typeof answer === "string" || "_tag" in answer

const read = ({ prompt, toolChoice, tools }: StreamText.Request): Asked => {
  const messages = prompt.content
  const system = messages.find((message) => message.role === "system")
  const last = messages.findLastIndex((message) => message.role === "user")
  return {
    prompt: messages,
    instructions: system?.content ?? "",
    message: textOf(messages[last]),
    results: messages
      .slice(last + 1)
      .flatMap((message) =>
        message.role === "tool" ? message.content.map(({ id, name, result }) => ({ id, tool: name, result })) : []
      ),
    tools: tools.map(({ name }) => name),
    mayCallTools: toolChoice !== "none"
  }
}

/** The text of a message. */
export const textOf = (message: Prompt.Message | undefined): string => {
  if (message === undefined) return ""
  if (message.role === "system") return message.content
  const parts: ReadonlyArray<Prompt.Part> = message.content
  return parts.map((part) => (part.type === "text" ? part.text : "")).join("")
}

const endOf = ({ prompt }: StreamText.Request, pieces: ReadonlyArray<Piece>): ReadonlyArray<StreamText.Part> => {
  const calls = pieces.some((piece) => typeof piece !== "string" && piece._tag === "Call")
  const given = pieces.find((piece) => typeof piece !== "string" && piece._tag === "Used")
  const { inputTokens, outputTokens } =
    given !== undefined && typeof given !== "string" && given._tag === "Used"
      ? given
      : { inputTokens: prompt.content.length, outputTokens: pieces.length }
  return [
    { type: "text-end", id: "text" },
    {
      type: "finish",
      reason: calls ? "tool-calls" : "stop",
      usage: {
        inputTokens,
        outputTokens,
        totalTokens: inputTokens === undefined || outputTokens === undefined ? undefined : inputTokens + outputTokens
      }
    }
  ]
}

const whole = (parts: Chunk.Chunk<StreamText.Part>): Array<Response.PartEncoded> => {
  const all = Chunk.toReadonlyArray(parts)
  const text = all.map((part) => (part.type === "text-delta" ? part.delta : "")).join("")
  return [
    ...(text === "" ? [] : [{ type: "text" as const, text }]),
    ...all.flatMap((part) => (part.type === "tool-call" || part.type === "finish" ? [part] : []))
  ]
}
