import { Array as Arr, Context, type Duration, Effect, Layer, Schedule, Schema, type Scope, Stream } from "effect"
import type { AwaitedCall } from "../../domain/Approval.ts"
import { ConversationNotFound, type MessageNotFound } from "../../domain/Conversation.ts"
import { type ConversationId, type MessageId, TurnId, type UserId } from "../../domain/Id.ts"
import { Unavailable } from "../../domain/Request.ts"
import {
  IdempotencyInProgress,
  type IdempotencyKeyReused,
  type Reverted,
  type Turn,
  type TurnInProgress,
  type TurnNotFound,
  type UndoConflict
} from "../../domain/Turn.ts"
import { type Ended, problemOf } from "../../domain/TurnEvent.ts"
import * as Span from "../../runtime/Span.ts"
import { Signals } from "../../sql/Signals.ts"
import { Agent } from "../agent/Agent.ts"
import { Tasks } from "../tasks/Tasks.ts"
import * as RemoteTurns from "./RemoteTurns.ts"
import { orLater } from "./RemoteTurns.ts"
import * as TurnFlusher from "./TurnFlusher.ts"
import type { TurnOutput } from "./TurnOutput.ts"
import type { RunningTurn } from "./TurnRegistry.ts"
import * as TurnRegistry from "./TurnRegistry.ts"
import * as TurnRunner from "./TurnRunner.ts"
import { Turns } from "./Turns.ts"
import {
  type DecisionRefusal,
  type DecisionRequest,
  type ExistingTurn,
  type Refusal,
  Stopped,
  type TurnRequest
} from "./TurnTypes.ts"

export interface ChatOptions {
  /** Time limit of a whole turn. */
  readonly timeout: Duration.Duration
  /** Running turns of this node; more are refused as `Unavailable`. */
  readonly maxRunning: number
  /** As for `Turns`: how long to retry the final write of a turn. */
  readonly lease: Duration.Duration
}

/** A turn that can be read, on any node. */
export interface Reading {
  readonly turnId: TurnId
  readonly conversationId: ConversationId
  readonly userMessageId: MessageId
  readonly output: TurnOutput
  /** Whether it runs on another node: its latest text may not have arrived yet, or may be lost with the node. */
  readonly isElsewhere: boolean
  /** Whether an earlier request with the same Idempotency-Key began it. */
  readonly isReplay: boolean
}

export interface Answer {
  readonly end: Ended
  readonly message: NonNullable<Ended["message"]>
  readonly isReplay: boolean
}

/**
 * Conversations with the agent: connects turns, the agent and the readers of its output. A turn runs in this layer's scope,
 * never in a request's, so its client may leave.
 */
export class Chat extends Context.Tag("taskchat/services/Chat")<
  Chat,
  {
    /** Begins a turn, or finds the one that the request's Idempotency-Key stands for. */
    readonly start: (
      request: TurnRequest
    ) => Effect.Effect<Reading, Refusal | IdempotencyKeyReused | MessageNotFound | Unavailable, Scope.Scope>
    /** Begins a turn and waits for its answer; a turn that does not complete is a problem. */
    readonly answer: (
      request: TurnRequest
    ) => Effect.Effect<
      Answer,
      | Refusal
      | IdempotencyKeyReused
      | IdempotencyInProgress
      | MessageNotFound
      | Unavailable
      | ReturnType<typeof problemOf>
    >
    /** Opens a turn for reading from any position, unless its answer was deleted. The scope is the reading's. */
    readonly read: (user: UserId, turnId: TurnId) => Effect.Effect<Reading, TurnNotFound | MessageNotFound, Scope.Scope>
    /** As `start`, with a decision on a turn's waiting calls instead of a message. */
    readonly decide: (
      request: DecisionRequest
    ) => Effect.Effect<Reading, DecisionRefusal | IdempotencyKeyReused | MessageNotFound | Unavailable, Scope.Scope>
    /** As `answer`, with a decision on a turn's waiting calls instead of a message. */
    readonly answerDecision: (
      request: DecisionRequest
    ) => Effect.Effect<
      Answer,
      | DecisionRefusal
      | IdempotencyKeyReused
      | IdempotencyInProgress
      | MessageNotFound
      | Unavailable
      | ReturnType<typeof problemOf>
    >
    /** The calls that a turn held back for approval, whether or not there was a decision. */
    readonly awaited: (user: UserId, turnId: TurnId) => Effect.Effect<ReadonlyArray<AwaitedCall>, TurnNotFound>
    readonly find: (user: UserId, turnId: TurnId) => Effect.Effect<Turn, TurnNotFound>
    /** Stops a turn wherever it runs; returns whether it was still running. */
    readonly cancel: (user: UserId, turnId: TurnId) => Effect.Effect<boolean, TurnNotFound>
    /** Undoes the task changes of an ended turn, all or none. Repeating it gives the same answer. */
    readonly undo: (
      user: UserId,
      turnId: TurnId
    ) => Effect.Effect<ReadonlyArray<Reverted>, TurnNotFound | TurnInProgress | UndoConflict>
    /** The number of turns that run on this node. */
    readonly running: Effect.Effect<number>
    /** Whether the node accepts new turns. */
    readonly isAccepting: Effect.Effect<boolean>
    /**
     * Refuses new turns, gives the running ones `grace` to end and ends the rest as `interrupted`. Then readings of other
     * nodes' turns end without a last event, so that readers go on elsewhere.
     */
    readonly drain: (grace: Duration.Duration) => Effect.Effect<void>
  }
>() {
  static readonly layer = (options: ChatOptions): Layer.Layer<Chat, never, Turns | Agent | Tasks | Signals> =>
    Layer.scoped(Chat, make(options))
}

const make = (options: ChatOptions) =>
  Effect.gen(function* () {
    const turns = yield* Turns
    const agent = yield* Agent
    const tasks = yield* Tasks
    const signals = yield* Signals
    const remote = yield* RemoteTurns.make(turns, signals)
    const registry = yield* TurnRegistry.make(options.maxRunning)
    const flusher = yield* TurnFlusher.make(turns, signals)
    const runner = TurnRunner.make(options, turns, agent, tasks, registry, flusher)

    const begin = (
      request: TurnRequest
    ): Effect.Effect<RunningTurn | ExistingTurn, Refusal | IdempotencyKeyReused | Unavailable> =>
      Effect.catchTag(runner.start(request), "NodeFull", () =>
        Effect.flatMap(turns.refusal(request), (existing) =>
          existing === null ? new Unavailable({ retryAfter: 1 }) : Effect.succeed(existing)
        )
      )

    const decide = (
      request: DecisionRequest
    ): Effect.Effect<RunningTurn | ExistingTurn, DecisionRefusal | IdempotencyKeyReused | Unavailable> =>
      Effect.catchTag(runner.decide(request), "NodeFull", () =>
        Effect.flatMap(turns.decisionRefusal(request), (existing) =>
          existing === null ? new Unavailable({ retryAfter: 1 }) : Effect.succeed(existing)
        )
      )

    const readFrom = <E>(user: UserId, begin: Effect.Effect<RunningTurn | ExistingTurn, E>) =>
      Effect.flatMap(begin, (begun) =>
        "output" in begun ? Effect.succeed(reading(begun)) : replay(user, begun.turnId)
      )

    const replay = (user: UserId, turnId: TurnId) =>
      Effect.map(read(user, turnId), (reading) => ({ ...reading, isReplay: true }))

    const start = (request: TurnRequest) =>
      Effect.catchTag(readFrom(request.user, begin(request)), "TurnNotFound", gone)

    const reading = (turn: RunningTurn): Reading => ({
      turnId: turn.turnId,
      conversationId: turn.conversationId,
      userMessageId: turn.userMessageId,
      output: turn.output,
      isElsewhere: false,
      isReplay: false
    })

    const read: (typeof Chat.Service)["read"] = (user, turnId) =>
      Effect.suspend(() => {
        const turn = registry.find(user, turnId)
        return turn !== undefined
          ? Effect.succeed(reading(turn))
          : Effect.map(remote.get(user, turnId), ({ output, stored: { turn } }) => ({
              turnId,
              conversationId: turn.conversationId,
              userMessageId: turn.userMessageId,
              output,
              isElsewhere: output.ended === undefined || output.ended.status === "interrupted",
              isReplay: false
            }))
      })

    const answerOf = <E>(user: UserId, begin: Effect.Effect<RunningTurn | ExistingTurn, E>) =>
      Effect.flatMap(begin, (begun) =>
        "output" in begun
          ? Effect.flatMap(begun.output.awaitEnd, (end) => answered(end, false))
          : Effect.scoped(
              Effect.flatMap(replay(user, begun.turnId), ({ output, turnId }) => answeredBefore(turnId, output.ended))
            )
      )

    const answer = (request: TurnRequest) =>
      Effect.catchTag(answerOf(request.user, begin(request)), "TurnNotFound", gone)

    const answered = (end: Ended, isReplay: boolean): Effect.Effect<Answer, ReturnType<typeof problemOf>> =>
      end.status === "completed" && end.message !== null
        ? Effect.succeed({ end, message: end.message, isReplay })
        : Effect.fail(problemOf(end, isReplay))

    const answeredBefore = (
      turnId: TurnId,
      end: Ended | undefined
    ): Effect.Effect<Answer, IdempotencyInProgress | ReturnType<typeof problemOf>> =>
      end === undefined ? Effect.fail(new IdempotencyInProgress({ turnId, retryAfter: 1 })) : answered(end, true)

    const cancel = (user: UserId, turnId: TurnId) =>
      Effect.gen(function* () {
        const status = yield* turns.requestCancel(user, turnId)
        if (status !== "running") return false
        if (!(yield* registry.stop(turnId, cancelled))) yield* signals.publish(`cancel ${turnId}`)
        return true
      })

    const undo = (user: UserId, turnId: TurnId) =>
      Effect.gen(function* () {
        const { calls, places } = yield* turns.find(user, turnId)
        const reverted = Effect.map(
          tasks.revert(user, turnId),
          Arr.map(({ position, step, task }) => {
            const call = calls.filter((_, i) => places[i]?.step === step)[position]
            return { toolCallId: call?.id ?? "", tool: call?.tool ?? "", taskId: task }
          })
        )
        return yield* turns.undo(user, turnId, reverted)
      })

    const onSignal = (signal: string) => {
      const [verb, id] = signal.split(" ")
      if (!isTurnId(id)) return Effect.void
      switch (verb) {
        case "said":
          return Effect.sync(() => remote.said(id))
        case "cancel":
          return registry.stop(id, cancelled)
        case "watch":
          return flusher.watch(id)
        default:
          return Effect.void
      }
    }

    const wakeReaders = Effect.zipRight(registry.wakeReaders, Effect.sync(remote.wake))

    yield* Effect.forkScoped(Stream.runForEach(signals.changes, onSignal))
    yield* Effect.forkScoped(Effect.repeat(orLater<unknown>([])(turns.sweep), Schedule.spaced("2 seconds")))
    yield* Effect.forkScoped(Effect.repeat(orLater<void>(undefined)(turns.prune), Schedule.spaced("1 hour")))
    yield* Effect.forkScoped(Effect.repeat(wakeReaders, Schedule.spaced(silence)))

    return Chat.of({
      start: (request) => Span.withSpan("Chat.start")(start(request)),
      answer: (request) => Span.withSpan("Chat.answer")(answer(request)),
      decide: (request) => Span.withSpan("Chat.decide")(readFrom(request.user, decide(request))),
      answerDecision: (request) => Span.withSpan("Chat.answerDecision")(answerOf(request.user, decide(request))),
      read,
      awaited: (user, turnId) => Effect.map(turns.find(user, turnId), ({ awaiting }) => awaiting ?? []),
      find: (user, turnId) => Effect.map(turns.find(user, turnId), ({ turn }) => turn),
      cancel: Effect.fn("Chat.cancel")(cancel),
      undo: Effect.fn("Chat.undo")(undo),
      running: registry.count,
      isAccepting: registry.isAccepting,
      drain: (grace) => Effect.zipRight(registry.drain(grace), Effect.sync(remote.leave))
    })
  })

/** The conversation of a repeated request's turn may have been deleted since. */
const gone = () => new ConversationNotFound()

/** Silent streams get a keep-alive this often; proxies close connections that are silent for longer. */
const silence = "10 seconds"

const isTurnId = Schema.is(TurnId)

const cancelled = new Stopped({ status: "cancelled" })
