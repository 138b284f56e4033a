/** Only the agent, without HTTP and without conversations: a command that works on a list of tasks. */
import { Effect, Layer, Stream } from "effect"
import { Agent, Offline, Tasks, TaskTools, TurnId, UserId } from "taskchat"

/** What the agent says to a message. */
export const ask = (user: UserId, message: string) =>
  Effect.flatMap(Agent, (agent) =>
    agent
      .run({
        id: TurnId.make(crypto.randomUUID()),
        user,
        timeZone: "Europe/Berlin",
        message,
        history: [],
        // The calls of tools are kept nowhere here.
        record: (_, call) => call
      })
      .pipe(
        Stream.map((event) => (event._tag === "Text" ? event.text : "")),
        Stream.mkString
      )
  )

/** Needs a database: `Sql.layer`, `Sql.layerEmbedded`. */
export const layer = Agent.layer(TaskTools.TaskTools, { maxSteps: 4 }).pipe(
  Layer.provide([TaskTools.layer, Offline.layer]),
  Layer.provideMerge(Tasks.layer)
)

export const me = UserId.make(1)
