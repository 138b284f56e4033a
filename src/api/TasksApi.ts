import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { Order, orderOf } from "../domain/Cursor.ts"
import { fromPath, TaskId, UserId } from "../domain/Id.ts"
import { key } from "../domain/Json.ts"
import { NewTaskBody, TaskPatchBody } from "../domain/NewTask.ts"
import { wire } from "../domain/Problem.ts"
import { PayloadTooLarge, UnsupportedMediaType } from "../domain/Request.ts"
import { Label, LocalDate, Priority, SearchText, Task, TaskChanged, TaskNotFound } from "../domain/Task.ts"
import { TaskChange } from "../domain/TaskChange.ts"
import { IdempotencyKeyReused } from "../domain/Turn.ts"
import { ApiRateLimit, Authentication } from "./Authentication.ts"
import { IdempotencyHeaders, UserPath } from "./ChatApi.ts"
import * as Paging from "./Paging.ts"

const TaskPath = Schema.Struct({ user_id: fromPath(UserId), task_id: fromPath(TaskId) })

/** The versions of a task that a change applies to; when absent or `*`, any version. */
const Conditions = Schema.Struct({
  "if-match": Schema.optional(
    Schema.String.annotations({
      description: "The `ETag` of the task as you read it; 412 if it has changed since",
      examples: ['"1"']
    })
  )
})

export class TaskList extends Schema.Class<TaskList>("TaskList")(
  {
    tasks: Schema.Array(Task),
    total: Paging.total("Of all tasks that the query finds, whatever the page"),
    nextCursor: Paging.nextCursor
  },
  [undefined, { identifier: "TaskList", description: "A page of tasks" }]
) {}

export class TaskHistory extends Schema.Class<TaskHistory>("TaskHistory")(
  {
    taskId: TaskId.pipe(key("task_id")),
    changes: Schema.Array(TaskChange),
    total: Paging.total("Of all changes of the task, whatever the page"),
    nextCursor: Paging.nextCursor
  },
  [undefined, { identifier: "TaskHistory", description: "A page of a task's changes, newest first" }]
) {}

export class TasksApi extends HttpApiGroup.make("tasks")
  .add(
    HttpApiEndpoint.get("list", "/api/:user_id/tasks")
      .setPath(UserPath)
      .setUrlParams(
        Schema.Struct({
          status: Schema.optional(
            Schema.Literal("all", "pending", "completed").annotations({ description: "All, when absent" })
          ),
          priority: Schema.optional(Priority),
          label: Schema.optional(Label.annotations({ description: "A label of the task, exactly" })),
          dueBefore: Schema.optional(LocalDate)
            .annotations({ description: "Due on this day or before" })
            .pipe(Schema.fromKey("due_before")),
          dueAfter: Schema.optional(LocalDate)
            .annotations({ description: "Due on this day or after" })
            .pipe(Schema.fromKey("due_after")),
          due: Schema.optional(
            Schema.Literal("none").annotations({
              description: "Without a due date; not with due_before or due_after",
              message: () => "must be none"
            })
          ),
          query: Schema.optional(
            SearchText.annotations({ description: "Text in the title or description, ignoring case and accents" })
          ).pipe(Schema.fromKey("q")),
          sort: Schema.optional(
            Order.annotations({
              description:
                "`created`: newest first, as when absent. `due`: earliest first, without a date last. `priority`: high first, without one last. Ties are newest first"
            })
          ),
          limit: Paging.limit(100, 50),
          cursor: Paging.cursor
        }).pipe(
          Schema.filter(({ cursor, due, dueAfter, dueBefore, sort = "created" }) => {
            if (due !== undefined && (dueBefore ?? dueAfter) !== undefined) {
              return { path: ["due"], message: "must be absent where there is due_before or due_after" }
            }
            return (
              cursor === undefined ||
              orderOf(cursor) === sort || { path: ["cursor"], message: "must be of a page with the same sort" }
            )
          })
        )
      )
      .addSuccess(TaskList)
      .annotate(OpenApi.Identifier, "listTasks")
      .annotate(OpenApi.Summary, "List tasks")
      .annotate(
        OpenApi.Description,
        "The parameters filter the list. `due_before` and `due_after` are inclusive. Pages stay right while tasks are added. Use a cursor with the same `sort`."
      )
  )
  .add(
    HttpApiEndpoint.post("create", "/api/:user_id/tasks")
      .setPath(UserPath)
      .setHeaders(IdempotencyHeaders)
      .setPayload(NewTaskBody)
      .addSuccess(Task, { status: 201 })
      .addError(wire(IdempotencyKeyReused))
      .addError(wire(PayloadTooLarge))
      .addError(wire(UnsupportedMediaType))
      .annotate(OpenApi.Identifier, "createTask")
      .annotate(OpenApi.Summary, "Create a task")
      .annotate(
        OpenApi.Description,
        "`due_at` alone sets `due_date` to its day in `time_zone`, or in UTC. A task with `repeat` and no date is due on the first day that matches. With an `Idempotency-Key` it is safe to repeat."
      )
  )
  .add(
    HttpApiEndpoint.get("get", "/api/:user_id/tasks/:task_id")
      .setPath(TaskPath)
      .addSuccess(Task)
      .addError(wire(TaskNotFound))
      .annotate(OpenApi.Identifier, "getTask")
      .annotate(OpenApi.Summary, "Read a task")
      .annotate(OpenApi.Description, "Its `ETag` is the version, for `If-Match`.")
  )
  .add(
    HttpApiEndpoint.patch("update", "/api/:user_id/tasks/:task_id")
      .setPath(TaskPath)
      .setHeaders(Conditions)
      .setPayload(TaskPatchBody)
      .addSuccess(Task)
      .addError(wire(TaskNotFound))
      .addError(wire(TaskChanged))
      .addError(wire(PayloadTooLarge))
      .addError(wire(UnsupportedMediaType))
      .annotate(OpenApi.Identifier, "updateTask")
      .annotate(OpenApi.Summary, "Change a task")
      .annotate(
        OpenApi.Description,
        "An absent member stays as it is; null clears it. `due_date` alone keeps the time of day; as null it also clears the time and `repeat`. Completing a repeating task moves it to its next due date, the first one after both today and the present one; send the `occurrence` to make this safe to repeat. A new due date moves only this occurrence; a new `repeat` starts a new series."
      )
  )
  .add(
    HttpApiEndpoint.del("delete", "/api/:user_id/tasks/:task_id")
      .setPath(TaskPath)
      .setHeaders(Conditions)
      .addSuccess(HttpApiSchema.NoContent.annotations({ description: "Deleted" }))
      .addError(wire(TaskNotFound))
      .addError(wire(TaskChanged))
      .annotate(OpenApi.Identifier, "deleteTask")
      .annotate(OpenApi.Summary, "Delete a task")
      .annotate(OpenApi.Description, "Its history stays readable.")
  )
  .add(
    HttpApiEndpoint.get("history", "/api/:user_id/tasks/:task_id/history")
      .setPath(TaskPath)
      .setUrlParams(Schema.Struct({ limit: Paging.limit(100, 50), cursor: Paging.cursor }))
      .addSuccess(TaskHistory)
      .addError(wire(TaskNotFound))
      .annotate(OpenApi.Identifier, "taskHistory")
      .annotate(OpenApi.Summary, "List the changes of a task, newest first")
      .annotate(
        OpenApi.Description,
        "One record per version: the kind of change, the turn, request or MCP call that made it, and the task before and after. Deleted tasks have a history too."
      )
  )
  .middleware(ApiRateLimit)
  .middleware(Authentication)
  .annotate(OpenApi.Description, "The user's tasks, the same ones that the agent works on") {}
