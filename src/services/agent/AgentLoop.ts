import { type AiError, Prompt } from "@effect/ai"
import { Chunk, Clock, DateTime, Effect, Exit, Option, Random } from "effect"
import {
  AgentContentRefused,
  type AgentError,
  AgentEvent,
  AgentFailed,
  AgentMessageRefused
} from "../../domain/Agent.ts"
import { type FailureKind, factsOf } from "../../domain/ModelFailure.ts"
import type { ProviderState } from "../../domain/ProviderState.ts"
import { CurrentRequestLimit, RequestLimit } from "../../domain/RequestLimit.ts"
import type { ToolCall } from "../../domain/ToolCall.ts"
import type { BudgetExhausted, TurnLost } from "../../domain/Turn.ts"
import * as FiberContext from "../../runtime/FiberContext.ts"
import * as Pull from "../../runtime/Pull.ts"
import type { AgentOptions, AgentTurn } from "./Agent.ts"
import { fromAiError, fromReason, isTransient, isUntaken, refusalOf } from "./AgentErrors.ts"
import {
  afterRefusal,
  assistant,
  costOf,
  dated,
  firstPrompt,
  messagesOf,
  results,
  type StepPrompt,
  stateOf
} from "./AgentPrompt.ts"
import { type Answer, addParts, emptyAnswer, type Part, salvage } from "./ModelAnswer.ts"
import type { Models, NamedModel } from "./Models.ts"
import {
  type AgentTools,
  changesOfHeld,
  execute,
  hold,
  needsApproval,
  type RequestedCall,
  requestedCall
} from "./ToolExecutor.ts"

/** One step: its number in the turn, and the prompt of its answer. */
interface Step {
  readonly number: number
  readonly model: NamedModel
  /** The limit of requests for the answer. */
  readonly limit: RequestLimit
  /** Failed tries of this model for temporary reasons. */
  readonly failures: number
  /** When the last request was sent, in milliseconds. */
  readonly askedAt: number
  /** Whether readers know the model. */
  readonly isChosen: boolean
  readonly prompt: StepPrompt
  readonly followsText: boolean
  /** Changes of tasks so far. */
  readonly changes: number
  /** The provider state for the rest of the turn, which is stored if the turn may wait for the user. */
  readonly states: ReadonlyArray<ProviderState>
}

const none: ReadonlyArray<AgentEvent> = []

/** The next events of a turn, and the effect for those after them. Fails with `None` at the end. */
type Next = Effect.Effect<
  readonly [events: ReadonlyArray<AgentEvent>, next: Next],
  Option.Option<AgentError | TurnLost | BudgetExhausted>
>

/** The events of one turn. Each step asks the model, reads its answer, runs the calls in it, and is followed by the next. */
export const make = (
  models: Models,
  tools: AgentTools,
  options: AgentOptions,
  turn: AgentTurn
): Pull.Source<AgentEvent, AgentError | TurnLost | BudgetExhausted> => {
  const confirm = options.confirm ?? "off"

  /** The answer that is being read. */
  let open: Pull.Source<Part, AiError.AiError> | undefined

  const ask = (asked: Omit<Step, "askedAt">): Next =>
    Effect.clockWith((clock) => {
      const step = { ...asked, askedAt: clock.unsafeCurrentTimeMillis() }
      step.limit.take()
      turn.asked?.(() => costOf(step.prompt, options.maxOutputTokens))
      const source = Pull.fromStream(
        step.model.model.streamText({
          prompt: Prompt.fromMessages(messagesOf(step.prompt)),
          toolkit: tools.offered,
          disableToolCallResolution: true,
          toolChoice: isLast(step) ? "none" : "auto"
        })
      )
      open = source
      const limited = FiberContext.provideService(CurrentRequestLimit, Option.some(step.limit))(source.pull)
      return read(step, source, emptyAnswer(step.followsText), limited)
    })

  const isLast = (step: Pick<Step, "number">) => step.number >= options.maxSteps

  const read = (
    step: Step,
    source: Pull.Source<Part, AiError.AiError>,
    answer: Answer,
    pull: typeof source.pull = source.pull
  ): Next =>
    Effect.matchEffect(pull, {
      onSuccess: (parts) => {
        const [next, events] = addParts(answer, parts)
        return events.length === 0
          ? read(step, source, next)
          : emit([...chosen(step), ...events], read({ ...step, isChosen: true }, source, next))
      },
      onFailure: (end) =>
        Effect.flatMap(source.close(Option.isNone(end) ? Exit.void : Exit.fail(end.value)), () => {
          open = undefined
          return Option.isNone(end) ? conclude(step, answer) : recover(step, answer, end.value)
        })
    })

  /** After a failure: uses the incomplete answer, retries, or gives up. */
  const recover = (step: Step, answer: Answer, error: AiError.AiError): Next => {
    const salvaged = salvage(tools.offered.tools, answer, error)
    if (salvaged !== undefined) return conclude(step, ...salvaged)
    if (isUntaken(error)) turn.asked?.(undefined)
    return Effect.zipRight(logFailure(step, factsOf(error)), askAgain(step, answer, error))
  }

  const askAgain = (step: Step, answer: Answer, error: AiError.AiError): Next => {
    const failure = fromAiError(error)
    // Shown text cannot be taken back.
    if (answer.text !== "") return fail(failure)
    const refusal = refusalOf(error)
    if (refusal !== undefined) return refused(step, refusal, failure)
    // A repeated step might repeat its calls.
    if (step.number > 1 || step.limit.left === 0 || !isTransient(error)) return fail(failure)
    const failures = step.failures + 1
    const fallback = isAway(failure) && step.model === models.first ? models.fallback : undefined
    const retry =
      failures < maxTries
        ? Effect.zipRight(pause(failure, failures, turn.deadline), ask({ ...step, failures }))
        : fail(failure)
    if (fallback === undefined) return retry
    // Do not change the model because of a short problem.
    const isAwayLonger = Effect.map(
      Clock.currentTimeMillis,
      (now) => failures > 1 || asksToWait(failure) || now - step.askedAt > maxMoment
    )
    const takeOver = Effect.zipRight(logFallback(fallback), ask({ ...step, model: fallback, failures: 0 }))
    return Effect.if(isAwayLonger, { onTrue: () => takeOver, onFalse: () => retry })
  }

  /** Sends a request that was refused for its content again with less content, as long as possible. */
  const refused = (step: Step, refusal: FailureKind | "unknown", failure: AgentError): Next => {
    const { limit, prompt } = step
    const less = afterRefusal(prompt, refusal, limit.left === 1)
    if (less !== undefined && limit.left > 0) return ask({ ...step, prompt: less })
    const isAlone = step.number === 1 && prompt.past.length === 0 && refusal !== "tool-call"
    return fail(isAlone ? refusedAlone(failure, prompt) : failure)
  }

  const conclude = (step: Step, answer: Answer, events: ReadonlyArray<AgentEvent> = none): Next => {
    const { calls, isReported, metadata, reason, text, usage } = answer
    const isWhole = reason === "stop" || reason === "tool-calls"
    // An answer without an end or without any content is malformed, and so is a last one without text.
    const isEmpty = isWhole && text === "" && (calls.length > 0 ? isLast(step) : !hasOutput(step, answer))
    if (usage === undefined) {
      const failed = Effect.zipRight(
        logFailure(step, { model_error: "the answer has no end" }),
        fail(new AgentFailed())
      )
      return events.length === 0 ? failed : emit(events, failed)
    }
    const usesTools = step.number > 1 || calls.length > 0
    const state = usesTools && !isEmpty ? stateOf(step.number, metadata) : undefined
    const cost = isReported ? usage : { ...usage, estimatedTokens: costOf(step.prompt, options.maxOutputTokens) }
    const ended = [
      ...chosen(step),
      ...events,
      AgentEvent.StepEnded({ usage: cost, ...(state !== undefined && { state }) })
    ]
    if (isEmpty) {
      const words = "the answer has no words"
      return emit(ended, Effect.zipRight(logFailure(step, { model_error: words }), fail(new AgentFailed())))
    }
    if (!isWhole) {
      const words = `the answer ended early: ${reason}`
      return emit(ended, Effect.zipRight(logFailure(step, { model_error: words }), fail(fromReason(reason))))
    }
    if (isLast(step) || calls.length === 0) return emit(ended, finished)
    return Effect.flatMap(
      Effect.forEach(calls, (call) => requestedCall(tools, call)),
      (requested) => run(step, answer, requested, [], ended)
    )
  }

  /** Emits `events` and the next call's start; the next pull runs the call. */
  const run = (
    step: Step,
    answer: Answer,
    calls: ReadonlyArray<RequestedCall>,
    done: ReadonlyArray<ToolCall>,
    events: ReadonlyArray<AgentEvent>
  ): Next => {
    const call = calls[done.length]
    if (call === undefined) {
      const ended = done.map((call, i) => ({ ...call, providerCallId: calls[i]?.providerCallId }))
      const present = [...step.prompt.present, assistant(answer.text, calls, answer.metadata), results(ended)]
      const prompt = { ...step.prompt, present }
      const followsText = step.followsText || answer.text !== ""
      const number = step.number + 1
      const states = confirm === "off" ? step.states : statesAfter(step, answer)
      const next = ask({ ...step, ...newStep(), number, prompt, followsText, states, isChosen: true })
      return emit(
        events,
        turn.goOn === undefined ? next : Effect.zipRight(Effect.mapError(turn.goOn, Option.some), next)
      )
    }
    if (confirm !== "off" && needsApproval(tools, confirm, call)) {
      const held = hold(tools, confirm, step.number, calls.slice(done.length))
      return emit([...events, AgentEvent.CallsHeld({ ...held, states: statesAfter(step, answer) })], finished)
    }
    const { id, parameters, providerCallId, tool } = call
    const dropped = done.length === calls.length - 1 ? answer.droppedCalls : 0
    const place = { step: step.number, position: done.length, providerCallId }
    const ran = execute(tools, turn, call, { place, dropped, changes: step.changes }).pipe(
      Effect.mapError(Option.some),
      Effect.flatMap((ran) =>
        run(
          { ...step, changes: step.changes + (ran.result.status === "success" ? call.changes : 0) },
          answer,
          calls,
          [...done, ran],
          [AgentEvent.ToolCallEnded({ call: ran, step: step.number, providerCallId })]
        )
      )
    )
    return emit([...events, AgentEvent.ToolCallStarted({ call: { id, tool, parameters }, step: step.number })], ran)
  }

  let next: Next = Effect.flatMap(dated(firstPrompt(options, turn), turn.timeZone), (prompt) => {
    const { first: model } = models
    const first = {
      ...newStep(),
      number: 1,
      model,
      prompt,
      followsText: false,
      changes: 0,
      states: [],
      isChosen: false
    }
    if (turn.decided === undefined) return ask(first)
    // The decided calls are the turn's first step.
    const { calls } = turn.decided
    const second = ask({ ...first, number: 2, changes: changesOfHeld(tools, calls) })
    return calls.length === 0 ? second : emit(calls.flatMap(ran), second)
  })
  return {
    pull: Effect.suspend(() =>
      Effect.map(next, ([events, rest]) => {
        next = rest
        return Chunk.unsafeFromArray(events)
      })
    ),
    close: (exit) => {
      // Release the prompt, as readers may hold the source for longer.
      next = finished
      return open?.close(exit) ?? Effect.void
    }
  }
}

/** The events of an approved call, which ran before the agent did. */
const ran = (call: ToolCall): ReadonlyArray<AgentEvent> => {
  const { id, parameters, tool } = call
  return [
    AgentEvent.ToolCallStarted({ call: { id, tool, parameters }, step: 1 }),
    AgentEvent.ToolCallEnded({ call, step: 1 })
  ]
}

const emit = (events: ReadonlyArray<AgentEvent>, next: Next): Next => Effect.succeed([events, next])
const fail = (error: AgentError): Next => Effect.fail(Option.some(error))
const finished: Next = Effect.fail(Option.none())

/** Whether a reader may have seen anything of the turn: then nothing is retried. */
const hasOutput = (step: Step, answer: Answer) => step.number > 1 || answer.text !== ""

/** Tries of one model in one step after temporary failures, including the first one. */
const maxTries = 3

/** Milliseconds: a model that takes longer to fail is not retried if there is a fallback. */
const maxMoment = 2000

const newStep = () => ({ limit: new RequestLimit(), failures: 0 })

const statesAfter = ({ number, states }: Step, { metadata }: Answer) => {
  const state = stateOf(number, metadata, "turn")
  return state === undefined ? states : [...states, state]
}

const chosen = ({ isChosen, model }: Step): ReadonlyArray<AgentEvent> =>
  isChosen ? none : [AgentEvent.ModelChosen({ model: model.name })]

/** Busy or unreachable. */
const isAway = ({ _tag }: AgentError) => _tag === "AgentBusy" || _tag === "AgentUnreachable"

const asksToWait = (failure: AgentError) => "retryAfter" in failure && failure.retryAfter !== undefined

/** The error of a message that is refused even without any history. */
const refusedAlone = (failure: AgentError, { isHalved }: StepPrompt) => {
  if (failure._tag === "AgentContextTooLong" || failure._tag === "AgentContentRefused") {
    return new AgentMessageRefused({ reason: failure })
  }
  // Without a reason, a conversation that worked before shows that the message is refused.
  return new AgentMessageRefused({ reason: isHalved === true ? new AgentContentRefused() : new AgentFailed() })
}

/** Logs a failed call of the model, without the provider's message, which may quote the prompt or the key. */
const logFailure = ({ limit, model }: Step, facts: Readonly<Record<string, string | number>>) => {
  const about = { model: model.name, model_try: limit.sent, ...facts }
  return Effect.zipRight(
    Effect.annotateLogs(Effect.logWarning("The model's service failed"), about),
    Effect.annotateCurrentSpan(about)
  )
}

const logFallback = ({ name }: NamedModel) =>
  Effect.annotateLogs(Effect.logWarning("The fallback model takes over"), { model: name })

/** Seconds: a service that asks to wait for longer counts as busy for this turn. */
const maxPause = 10

/** Waits before the next try, if the deadline allows it. */
const pause = (
  failure: AgentError,
  tries: number,
  deadline: DateTime.Utc | undefined
): Effect.Effect<void, Option.Option<AgentError>> =>
  Effect.gen(function* () {
    // Whole milliseconds, as everywhere: with parts of one, `TestClock` fails to tell nanoseconds.
    const backoff = 2 ** (tries - 1) * (yield* Random.nextIntBetween(200, 401))
    const asked = "retryAfter" in failure ? failure.retryAfter : undefined
    if (asked === undefined) return yield* Effect.sleep(backoff)
    const now = yield* DateTime.now
    const left = deadline === undefined ? Number.POSITIVE_INFINITY : DateTime.distance(now, deadline)
    const wait = Math.ceil(asked * 1000 + backoff / 4)
    if (asked > maxPause || wait >= left) return yield* Effect.fail(Option.some(failure))
    yield* Effect.sleep(wait)
  })
