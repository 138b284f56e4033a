import { HttpLayerRouter } from "@effect/platform"
import { Effect, Option, Schema } from "effect"
import { Api } from "../api/Api.ts"
import { unquoted } from "../api/ChatApi.ts"
import { TaskHistory } from "../api/TasksApi.ts"
import { NewTaskBody } from "../domain/NewTask.ts"
import { RequestId } from "../domain/Problem.ts"
import { CurrentUser } from "../domain/Request.ts"
import { Cause, Task } from "../domain/Task.ts"
import * as HttpApiRoutes from "../runtime/HttpApiRoutes.ts"
import { Idempotency } from "../services/access/Idempotency.ts"
import { readRepeat } from "../services/tasks/Recurrence.ts"
import { Tasks, type Versioned } from "../services/tasks/Tasks.ts"
import { setResponseHeaders } from "./Exchange.ts"
import { addressIn, PublicUrl } from "./Mount.ts"

/** The owner is the authenticated user, never the one in the URL. */
const owner = Effect.map(CurrentUser, ({ id }) => id)

const cause = Effect.map(RequestId, (requestId) => Cause.Request({ requestId }))

const withTag = ({ task, version }: Versioned) => Effect.as(setResponseHeaders({ etag: `"${version}"` }), task)

/**
 * The versions in `If-Match`; `undefined` if it allows any. An unknown tag matches nothing, nor does a weak one (RFC 9110,
 * section 13.1.1).
 */
const expectedBy = ({ "if-match": tags }: { readonly "if-match"?: string | undefined }) =>
  tags === undefined || tags.trim() === "*"
    ? undefined
    : tags.split(",").flatMap((tag) => {
        const [, version] = /^\s*"([0-9]{1,15})"\s*$/.exec(tag) ?? []
        return version === undefined ? [] : [Number(version)]
      })

const Created = Schema.Struct({ task: Task, version: Schema.Int })
const encodeNewTask = Schema.encode(NewTaskBody)

export const layer = HttpApiRoutes.group(Api, "tasks", (handlers) =>
  Effect.gen(function* () {
    const tasks = yield* Tasks
    const idempotency = yield* Idempotency
    const publicUrl = yield* PublicUrl

    return handlers
      .handle("list", ({ urlParams }) => Effect.flatMap(owner, (user) => tasks.list(user, urlParams)))
      .handle(
        "create",
        Effect.fnUntraced(function* ({ headers, payload }) {
          const user = yield* owner
          const because = yield* cause
          const create = Effect.flatMap(readRepeat(payload), (task) => tasks.create(user, task, because))
          const key = headers["idempotency-key"]
          const attempt =
            key === undefined
              ? undefined
              : { owner: user, scope: "tasks", key: unquoted(key), body: yield* Effect.orDie(encodeNewTask(payload)) }
          const { replayed, value } =
            attempt === undefined
              ? { replayed: false, value: yield* create }
              : yield* idempotency.once(attempt, Created, create)
          if (replayed) yield* setResponseHeaders({ "idempotent-replayed": "true" })
          const { route } = yield* HttpLayerRouter.RouteContext
          const path = `${route.path.replace(":user_id", String(user))}/${value.task.id}`
          yield* setResponseHeaders({
            location: Option.match(publicUrl, { onNone: () => path, onSome: (url) => addressIn(url, path) })
          })
          return yield* withTag(value)
        })
      )
      .handle("get", ({ path }) =>
        Effect.flatMap(
          Effect.flatMap(owner, (user) => tasks.get(user, path.task_id)),
          withTag
        )
      )
      .handle(
        "update",
        Effect.fnUntraced(function* ({ headers, path, payload }) {
          const user = yield* owner
          const isOwnZone = payload.repeat != null && payload.timeZone == null
          const kept = isOwnZone ? yield* tasks.get(user, path.task_id) : null
          const patch = yield* readRepeat(payload, kept?.task.timeZone)
          return yield* withTag(yield* tasks.update(user, path.task_id, patch, yield* cause, expectedBy(headers)))
        })
      )
      .handle(
        "delete",
        Effect.fnUntraced(function* ({ headers, path }) {
          yield* tasks.remove(yield* owner, path.task_id, yield* cause, expectedBy(headers))
        })
      )
      .handle(
        "history",
        Effect.fnUntraced(function* ({ path, urlParams }) {
          const page = yield* tasks.history(yield* owner, path.task_id, urlParams)
          return new TaskHistory({ ...page, taskId: path.task_id })
        })
      )
  })
)
