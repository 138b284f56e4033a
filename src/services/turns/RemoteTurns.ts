import { Cause, Data, Effect, Queue, RcMap, Schedule, type Scope } from "effect"
import { MessageNotFound } from "../../domain/Conversation.ts"
import type { TurnId, UserId } from "../../domain/Id.ts"
import type { TurnNotFound } from "../../domain/Turn.ts"
import type { Ended } from "../../domain/TurnEvent.ts"
import type { Signals } from "../../sql/Signals.ts"
import { isUnavailable } from "../../sql/SqlErrors.ts"
import { TurnOutput } from "./TurnOutput.ts"
import type { Turns } from "./Turns.ts"
import { cancelled, type StoredTurn } from "./TurnTypes.ts"

/** A turn's output from the database, and the row at the first reading. */
export interface Copy {
  readonly stored: StoredTurn
  readonly output: TurnOutput
}

class Key extends Data.Class<{ readonly user: UserId; readonly turnId: TurnId }> {}

/**
 * The outputs of turns that do not run on this node. Those of ended turns are complete; those of other nodes' turns are
 * updated while someone here reads them, in one copy for all readers.
 */
export const make = (turns: typeof Turns.Service, signals: typeof Signals.Service) =>
  Effect.gen(function* () {
    const followed = new Map<TurnId, { readonly output: TurnOutput; readonly said: Queue.Queue<void> }>()
    let isLeaving = false

    /** Signals make updates fast; without them polling finds them. */
    const follow = (key: Key, { output, stored }: Copy, said: Queue.Queue<void>) => {
      const ask = Effect.zipRight(turns.watch(key.user, key.turnId), signals.publish(`watch ${key.turnId}`))
      const look = Effect.map(turns.find(key.user, key.turnId), (now) => update(output, now))
      return Queue.take(said).pipe(
        Effect.timeoutOption("500 millis"),
        Effect.zipRight(orLater(false)(look)),
        Effect.repeat({ until: (isOver) => isOver }),
        // Its conversation was deleted, and the turn is being stopped.
        Effect.catchTag("TurnNotFound", () => Effect.sync(() => output.end(stopped(stored)))),
        Effect.race(Effect.repeat(orLater<void>(undefined)(ask), Schedule.spaced("5 seconds")))
      )
    }

    const copies = yield* RcMap.make({
      lookup: (key: Key): Effect.Effect<Copy, TurnNotFound | MessageNotFound, Scope.Scope> =>
        Effect.gen(function* () {
          const stored = yield* turns.find(key.user, key.turnId)
          if (stored.isDeleted) return yield* new MessageNotFound()
          const output = new TurnOutput()
          const copy = { stored, output }
          if (update(output, stored)) return copy
          if (isLeaving) output.leave()
          const said = yield* Queue.sliding<void>(1)
          yield* Effect.acquireRelease(
            Effect.sync(() => followed.set(key.turnId, { output, said })),
            () => Effect.sync(() => followed.delete(key.turnId))
          )
          yield* Effect.forkScoped(follow(key, copy, said))
          return copy
        })
    })

    return {
      /** The output now in the database, updated as long as the scope is open. */
      get: (user: UserId, turnId: TurnId) =>
        Effect.suspend(() => {
          const copy = RcMap.get(copies, new Key({ user, turnId }))
          return followed.has(turnId)
            ? Effect.tap(copy, ({ output }) => Effect.map(turns.find(user, turnId), (now) => update(output, now)))
            : copy
        }),
      /** Updates a turn's output, if anyone here reads it. */
      said: (turnId: TurnId) => {
        followed.get(turnId)?.said.unsafeOffer(undefined)
      },
      wake: () => {
        for (const { output } of followed.values()) output.wake()
      },
      /** Ends all readings of other nodes' turns, later ones too. */
      leave: () => {
        isLeaving = true
        for (const { output } of followed.values()) output.leave()
      }
    }
  })

/** For repeated work: if the database fails, returns `otherwise` and leaves it to the next run. */
export const orLater =
  <A>(otherwise: A) =>
  <E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.catchAllDefect(effect, (defect) =>
      Effect.as(
        isUnavailable(defect)
          ? Effect.logWarning("The database is away")
          : Effect.logError("The database returned an unexpected result", Cause.die(defect)),
        otherwise
      )
    )

/** Updates `output` from the database; returns whether the turn has ended. */
const update = (output: TurnOutput, stored: StoredTurn): boolean => {
  if (output.isOver) return true
  const addUntil = (end: number) => {
    const text = stored.content.slice(output.text.length, end)
    if (text !== "") output.addText(text)
  }
  for (let i = output.calls.length; i < stored.calls.length; i++) {
    const [call, place] = [stored.calls[i], stored.places[i]]
    // The text before it has not arrived yet.
    if (call === undefined || place === undefined || place.offset > stored.content.length) return false
    addUntil(place.offset)
    output.callEnded(call, place)
  }
  addUntil(stored.content.length)
  const end = endOf(stored)
  if (end === undefined) return false
  output.end(end)
  return true
}

/** The end of a stored turn, if it has ended. */
export const endOf = ({ awaiting, calls, content, createdAt, retryAfter, turn }: StoredTurn): Ended | undefined =>
  turn.status === "running"
    ? undefined
    : {
        turnId: turn.turnId,
        conversationId: turn.conversationId,
        status: turn.status,
        content,
        toolCalls: calls.length === 0 ? null : calls,
        awaiting,
        model: turn.model,
        usage: turn.usage ?? { inputTokens: 0, outputTokens: 0 },
        message: turn.messageId === null || createdAt === null ? null : { id: turn.messageId, createdAt },
        error: turn.error,
        retryAfter
      }

const stopped = ({ turn }: StoredTurn): Ended => ({
  ...cancelled,
  turnId: turn.turnId,
  conversationId: turn.conversationId,
  content: "",
  toolCalls: null,
  awaiting: null,
  model: null,
  usage: { inputTokens: 0, outputTokens: 0 },
  message: null
})
