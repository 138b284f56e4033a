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

/** Which versions of a task a change is meant for; none when absent or `*`: then it is meant for whatever is there. */
const Conditions = Schema.Struct({
  "if-match": Schema.optional(
    Schema.String.annotations({
      description: "The `ETag` of the task as you know it; 412 if it has changed since",
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
  [undefined, { identifier: "TaskHistory", description: "A page of what changed a task, newest first" }]
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
          label: Schema.optional(Label.annotations({ description: "One of the task's labels, exactly" })),
          dueBefore: Schema.optional(LocalDate)
            .annotations({ description: "Due on this day or before" })
            .pipe(Schema.fromKey("due_before")),
          dueAfter: Schema.optional(LocalDate)
            .annotations({ description: "Due on this day or after" })
            .pipe(Schema.fromKey("due_after")),
          due: Schema.optional(
            Schema.Literal("none").annotations({ description: "Without a due date; not with due_before or due_after" })
          ),
          query: Schema.optional(
            SearchText.annotations({ description: "Found in title or description, without regard to case and accents" })
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
        "Parameters narrow the list. `due_before` and `due_after` are inclusive. Pages stay right while tasks are added. A cursor is for the same `sort`."
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
      .annotate(OpenApi.Description, "Its `ETag` names the version, for `If-Match`.")
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
        "An absent member stays as it is, null clears. `due_date` alone keeps the time of day, and null clears the time and `repeat` too. A task that repeats is not completed but moves on to its next due date, which is the first after both today and the present one; name the `occurrence` to make that safe to repeat. Another due date moves this occurrence only; `repeat` begins anew."
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
      .annotate(OpenApi.Summary, "What changed a task, newest first")
      .annotate(
        OpenApi.Description,
        "One record per version: what kind of change, by which turn, request or MCP call, and the task before and after. Deleted tasks have one too."
      )
  )
  .middleware(ApiRateLimit)
  .middleware(Authentication)
  .annotate(OpenApi.Description, "Things to do, the same that the agent works on") {}
