import { Schema } from "effect"
import { TurnId } from "./Id.ts"
import { key, Time } from "./Json.ts"
import { Task } from "./Task.ts"

const TaskChangeKind = Schema.Literal("created", "updated", "completed", "reopened", "deleted", "restored").annotations(
  { identifier: "TaskChangeKind" }
)

const cause = <const Type extends string, const Tag extends string, Fields extends Schema.Struct.Fields>(
  type: Type,
  tag: Tag,
  fields: Fields,
  description: string
) =>
  Schema.Struct({ _tag: Schema.transformLiteral(type, tag).pipe(key("type")), ...fields }).annotations({ description })

const requestId = {
  requestId: Schema.String.annotations({
    description: "The request's `X-Request-Id`",
    examples: ["2f1c7f0e-6f4b-4a47-9a53-0d7a4b9f6f10"]
  }).pipe(key("request_id"))
}
const turnId = { turnId: TurnId.pipe(key("turn_id")) }

/** `Cause` on the wire. */
const TaskCause = Schema.Union(
  cause(
    "turn",
    "Turn",
    {
      ...turnId,
      step: Schema.Int.annotations({ description: "The step of the turn", examples: [1] }),
      position: Schema.Int.annotations({ description: "The position of the tool call within the step", examples: [0] })
    },
    "A tool call of the agent"
  ),
  cause("undo", "Undo", turnId, "The changes of that turn were taken back"),
  cause("request", "Request", requestId, "A request to the REST API"),
  cause("mcp", "Mcp", requestId, "A tool call over MCP")
).annotations({
  identifier: "TaskCause",
  description: "What changed the task"
})

/** The change that made one version of a task. `before` is null if there was no task, `after` if it was deleted. */
export class TaskChange extends Schema.Class<TaskChange>("TaskChange")(
  {
    version: Schema.Int.annotations({ description: "The version that the change made: 1, 2, 3 …", examples: [1] }),
    kind: TaskChangeKind,
    before: Schema.NullOr(Task).annotations({
      description: "Null if there was no task",
      jsonSchema: { examples: [null] }
    }),
    after: Schema.NullOr(Task).annotations({ description: "Null if the task was deleted" }),
    cause: TaskCause,
    at: Time
  },
  [undefined, { identifier: "TaskChange", description: "The change that made one version of a task" }]
) {}
