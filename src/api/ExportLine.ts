import { Schema } from "effect"
import { Decision } from "../domain/Approval.ts"
import { Conversation, Message } from "../domain/Conversation.ts"
import { ConversationId, TaskId, TurnId } from "../domain/Id.ts"
import { key, Time } from "../domain/Json.ts"
import { LocalDate, Task } from "../domain/Task.ts"
import { TaskChange } from "../domain/TaskChange.ts"
import { ToolCall, ToolCallStarted } from "../domain/ToolCall.ts"
import { Reverted, Turn, TurnEnd, Usage } from "../domain/Turn.ts"

/** The media type of an export. */
export const contentType = "application/jsonl"

const deletedAt = {
  deletedAt: Schema.NullOr(Time)
    .annotations({ description: "When it was deleted; it is no longer shown" })
    .pipe(key("deleted_at"))
}
const createdAt = { createdAt: Time.pipe(key("created_at")) }
const turnId = { turnId: TurnId.pipe(key("turn_id")) }

const line = <const Type extends string, Fields extends Schema.Struct.Fields>(
  type: Type,
  identifier: string,
  description: string,
  fields: Fields
) => Schema.Struct({ type: Schema.Literal(type), ...fields }).annotations({ identifier, description })

const { awaiting: _, parts: __, ...message } = Message.fields
const { awaiting: ___, toolCalls: ____, ...turn } = Turn.fields
const { completedOccurrence: _____, ...task } = Task.fields

const count = (description: string) => Schema.Int.annotations({ description, examples: [1] })

/** A line of an export, by its `type`. */
export const ExportLine = Schema.Union(
  line("identity", "ExportedIdentity", "The account that the user's id was assigned to", {
    issuer: Schema.String.annotations({ examples: ["https://login.example.com/"] }),
    subject: Schema.String.annotations({ examples: ["auth0|5f7c8ec7c33c6c004bbafe82"] }),
    ...createdAt
  }),
  line("conversation", "ExportedConversation", "A conversation", { ...Conversation.fields, ...deletedAt }),
  line("turn", "ExportedTurn", "A turn, running or ended", {
    ...turn,
    steps: Schema.NullOr(Schema.Array(Usage)).annotations({ description: "The cost of each call of the model" }),
    timeZone: Schema.String.annotations({ examples: ["Europe/Berlin"] }).pipe(key("time_zone")),
    reverted: Schema.NullOr(Schema.Array(Reverted)).annotations({ description: "The changes that its undo reverted" }),
    decides: Schema.NullOr(TurnId).annotations({ description: "The turn whose waiting calls it decided on" })
  }),
  line("message", "ExportedMessage", "A message, with the tool calls of an answer", {
    ...message,
    conversationId: ConversationId.pipe(key("conversation_id")),
    awaiting: Schema.NullOr(Schema.Array(ToolCallStarted)).annotations({
      description: "Calls that waited for the user's approval"
    }),
    approvalExpiresAt: Schema.NullOr(Time)
      .annotations({ description: "When their approval expires" })
      .pipe(key("approval_expires_at")),
    decision: Schema.NullOr(Decision).annotations({ description: "The message's decision on waiting calls" }),
    ...deletedAt
  }),
  line("turn_output", "ExportedTurnOutput", "A piece of what a running turn has said so far", {
    ...turnId,
    part: count("Where in the turn's text it begins"),
    text: Schema.String.annotations({ examples: ["I've added"] })
  }),
  line("tool_call", "ExportedToolCall", "A tool call of a running turn; those of an ended one are in its message", {
    ...turnId,
    step: count("The step of the turn"),
    position: count("The call's place within the step"),
    ...ToolCall.fields,
    ...createdAt
  }),
  line("task", "ExportedTask", "A task", { ...task, version: count("1, and one more with each change"), ...deletedAt }),
  line("task_change", "ExportedTaskChange", "What made one version of a task", {
    taskId: TaskId.pipe(key("task_id")),
    ...TaskChange.fields
  }),
  line("usage", "ExportedUsage", "What the turns of a day (UTC) have cost", {
    date: LocalDate,
    ...Usage.fields,
    estimatedTokens: count("Of calls of the model that did not tell what they had cost").pipe(key("estimated_tokens")),
    turns: Schema.Record({ key: TurnEnd, value: Schema.Int }).annotations({ description: "How many, by their end" }),
    models: Schema.Array(
      Schema.Struct({ model: Schema.String.annotations({ examples: ["openai:gpt-4.1-mini"] }), ...Usage.fields })
    )
  }),
  line("idempotency_key", "ExportedIdempotencyKey", "A request that is not run again for a day", {
    scope: Schema.String.annotations({ examples: ["tasks"] }),
    key: Schema.String.annotations({ examples: ["0197b3c2"] }),
    turnId: Schema.NullOr(TurnId).pipe(key("turn_id")),
    response: Schema.Unknown.annotations({
      description: "The stored answer, if the request began no turn",
      examples: [null]
    }),
    ...createdAt
  }),
  line("end", "ExportEnd", "The last line; without it, the export was cut", {
    lines: count("How many lines came before")
  })
).annotations({ identifier: "ExportLine", description: "A line of an export, by its `type`" })

/** The export of a user without data. */
export const example = '{"type":"end","lines":0}\n'
