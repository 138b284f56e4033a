import { type AiError, type LanguageModel, Prompt, Response, type Tool } from "@effect/ai"
import { Chunk, Effect, Exit, Option, Random } from "effect"
import { type AgentError, AgentEvent, AgentFailed } from "../../domain/Agent.ts"
import { storable } from "../../domain/Json.ts"
import type { ToolCall } from "../../domain/ToolCall.ts"
import type { TurnLost } from "../../domain/Turn.ts"
import * as Pull from "../../runtime/Pull.ts"
import type { AgentOptions, AgentTurn } from "./Agent.ts"
import { fromAiError, isTransient } from "./AgentErrors.ts"
import { assistant, instructions, remember, results, system, user } from "./AgentPrompt.ts"
import { type Call, callOf, type Hands, use } from "./ToolExecutor.ts"
import * as ToolSchemas from "./ToolSchemas.ts"

type Part = Response.StreamPart<Record<string, Tool.Any>>

type Next = Effect.Effect<Chunk.Chunk<AgentEvent>, Option.Option<AgentError | TurnLost>>

/**
 * The events of one turn. A step asks the model, reads its answer, runs the calls in it, and is followed by the next one.
 * A class of states rather than streams of streams: every token passes here.
 */
export class AgentRun implements Pull.Source<AgentEvent, AgentError | TurnLost> {
  readonly #model: LanguageModel.Service
  readonly #hands: Hands
  readonly #options: AgentOptions
  readonly #turn: AgentTurn
  /** What comes of the next pull. */
  #next: Next
  /** The answer that is being read. */
  #answer: Pull.Source<Part, AiError.AiError> | undefined
  /** Whether a reader may have seen anything: from then on nothing is tried again. */
  #begun = false
  #hasSpoken = false

  // --- of the present step

  #prompt: ReadonlyArray<Prompt.Message> = []
  #step = 0
  #text = ""
  /** The first half of a surrogate pair, until the second one comes. */
  #half = ""
  #usage: Response.Usage | undefined
  #calls: Array<Call> = []
  #done: Array<ToolCall> = []
  readonly #unfinished = new Map<string, { readonly name: string; text: string }>()

  constructor(model: LanguageModel.Service, hands: Hands, options: AgentOptions, turn: AgentTurn) {
    this.#model = model
    this.#hands = hands
    this.#options = options
    this.#turn = turn
    this.#next = Effect.flatMap(instructions(options.instructions, turn.timeZone), (said) =>
      this.#begin([system(said), ...remember(turn.history), user(turn.message)])
    )
  }

  readonly pull: Next = Effect.suspend(() => this.#next)

  readonly close = (exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> => {
    // What else there is of the run may stay in memory for a while (see `FiberState.forget`).
    this.#prompt = []
    return this.#answer?.close(exit) ?? Effect.void
  }

  get #isLast() {
    return this.#step >= this.#options.maxSteps
  }

  #begin(prompt: ReadonlyArray<Prompt.Message>): Next {
    this.#prompt = prompt
    this.#step++
    this.#text = ""
    this.#done = []
    return this.#ask(1)
  }

  #ask(tries: number): Next {
    this.#calls = []
    this.#half = ""
    this.#usage = undefined
    this.#unfinished.clear()
    const answer = Pull.fromStream(
      this.#model.streamText({
        prompt: Prompt.fromMessages(this.#prompt),
        toolkit: this.#hands.offered,
        disableToolCallResolution: true,
        toolChoice: this.#isLast ? "none" : "auto"
      })
    )
    this.#answer = answer
    const listen: Next = Effect.matchEffect(answer.pull, {
      onSuccess: (parts) => {
        const events = this.#readAll(parts)
        return events.length === 0 ? listen : Effect.succeed(Chunk.unsafeFromArray(events))
      },
      onFailure: (end) =>
        Effect.flatMap(answer.close(Option.isNone(end) ? Exit.void : Exit.fail(end.value)), () => {
          this.#answer = undefined
          return Option.isNone(end) ? this.#conclude() : this.#giveUp(end.value, tries)
        })
    })
    this.#next = listen
    return listen
  }

  // --- what the model says

  #readAll(parts: Iterable<Part>): Array<AgentEvent> {
    const events: Array<AgentEvent> = []
    for (const part of parts) {
      const event = this.#read(part)
      if (event !== undefined) events.push(event)
    }
    return events
  }

  #read(part: Part): AgentEvent | undefined {
    switch (part.type) {
      case "text-delta": {
        const [whole, rest] = splitPair(this.#half + part.delta)
        this.#half = rest
        return this.#say(whole)
      }
      case "tool-params-start":
        this.#unfinished.set(part.id, { name: part.name, text: "" })
        return undefined
      case "tool-params-delta": {
        const call = this.#unfinished.get(part.id)
        if (call !== undefined) call.text += part.delta
        return undefined
      }
      case "tool-call":
        this.#unfinished.delete(part.id)
        this.#calls.push(callOf(this.#hands.tools, part))
        return undefined
      case "finish":
        this.#usage = part.usage
        // Its other half will not come.
        return this.#say(this.#half)
      default:
        return undefined
    }
  }

  #say(words: string): AgentEvent | undefined {
    const said = this.#text === "" ? storable(words).trimStart() : storable(words)
    if (said === "") return undefined
    // The texts of two steps are paragraphs of one message.
    const piece = this.#text === "" && this.#hasSpoken ? `\n\n${said}` : said
    this.#text += piece
    this.#begun = true
    this.#hasSpoken = true
    return AgentEvent.Text({ text: piece })
  }

  // --- what becomes of an answer

  #giveUp(error: AiError.AiError, tries: number): Next {
    const events = this.#salvage(error)
    if (events !== undefined) {
      if (events.length === 0) return this.#conclude()
      this.#next = Effect.suspend(() => this.#conclude())
      return Effect.succeed(Chunk.unsafeFromArray(events))
    }
    const failure = fromAiError(error)
    return this.#begun || tries === maxTries || !isTransient(error)
      ? fail(failure)
      : Effect.flatMap(pauseAfter(failure, tries), () => this.#ask(tries + 1))
  }

  /** What there is of an answer that the model's layer gave up for a call that cannot be run, if it did. */
  #salvage(error: AiError.AiError): Array<AgentEvent> | undefined {
    const parts = ToolSchemas.givenUp(this.#hands.offered.tools, error)
    if (parts === undefined || (ToolSchemas.isNotJson(error) && this.#unfinished.size === 0)) return undefined
    const events = this.#readAll(parts)
    for (const [id, { name, text }] of this.#unfinished) {
      this.#calls.push(callOf(this.#hands.tools, { id, name, params: text }))
    }
    this.#usage ??= unknownUsage
    return events
  }

  #conclude(): Next {
    // An answer that ends without an end, or says nothing at all, makes no sense; nor one that had to be in words and
    // has none.
    const isEmpty = this.#text === "" && (this.#calls.length > 0 ? this.#isLast : !this.#begun)
    if (this.#usage === undefined || isEmpty) return fail(new AgentFailed())
    const { inputTokens, outputTokens } = this.#usage
    const ended = AgentEvent.StepEnded({
      usage: { inputTokens: tokens(inputTokens), outputTokens: tokens(outputTokens) }
    })
    return this.#isLast || this.#calls.length === 0 ? this.#leave([ended]) : this.#act(0, [ended])
  }

  #leave(events: Array<AgentEvent>): Next {
    this.#next = over
    return Effect.succeed(Chunk.unsafeFromArray(events))
  }

  /** Announces the call at `position` after these events. The next pull runs it. */
  #act(position: number, events: Array<AgentEvent>): Next {
    const call = this.#calls[position]
    if (call === undefined) {
      this.#next = Effect.suspend(() =>
        this.#begin([...this.#prompt, assistant(this.#text, this.#calls), results(this.#done)])
      )
    } else {
      this.#begun = true
      const { id, parameters, tool } = call
      events.push(AgentEvent.ToolCallStarted({ call: { id, tool, parameters }, step: this.#step }))
      this.#next = use(this.#hands, this.#turn, call, { step: this.#step, position }).pipe(
        Effect.mapError(Option.some),
        Effect.flatMap((done) => {
          this.#done.push(done)
          return this.#act(position + 1, [AgentEvent.ToolCallEnded({ call: done, step: this.#step })])
        })
      )
    }
    return Effect.succeed(Chunk.unsafeFromArray(events))
  }
}

const over: Next = Exit.fail(Option.none())

const fail = (error: AgentError): Next => Effect.fail(Option.some(error))

/** Its end, where the tokens are counted, is lost. */
const unknownUsage = new Response.Usage({ inputTokens: undefined, outputTokens: undefined, totalTokens: undefined })

/** The first try counts. */
const maxTries = 3

/** Seconds: a service that asks for more patience than this is busy for as long as this turn is concerned. */
const maxPause = 10

/** Waits before the next try, if it is worth to. */
const pauseAfter = (failure: AgentError, tries: number): Effect.Effect<void, Option.Option<AgentError>> => {
  const pause = "retryAfter" in failure ? failure.retryAfter : undefined
  if (pause !== undefined && pause > maxPause) return Effect.fail(Option.some(failure))
  return Effect.flatMap(Random.nextRange(0.5, 1), (jitter) => {
    const millis = 400 * 2 ** (tries - 1) * jitter
    return Effect.sleep(pause === undefined ? millis : pause * 1000 + millis / 4)
  })
}

/** A count of tokens as the database takes it, whatever a provider makes of it. */
const tokens = (n: number | undefined) => (n !== undefined && n > 0 ? Math.min(Math.trunc(n), 10_000_000) : 0)

/** Keeps the first half of a surrogate pair back until the second one comes. */
const splitPair = (text: string): readonly [whole: string, half: string] =>
  /[\uD800-\uDBFF]$/.test(text) ? [text.slice(0, -1), text.slice(-1)] : [text, ""]
