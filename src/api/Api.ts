import { OpenApi } from "@effect/platform"
import { wire } from "../domain/Problem.ts"
import { InternalError, InvalidRequest } from "../domain/Request.ts"
import { keyLifetime } from "../domain/Turn.ts"
import * as Base from "./Base.ts"
import { ChatApi } from "./ChatApi.ts"
import { ConversationsApi } from "./ConversationsApi.ts"
import { DataApi } from "./DataApi.ts"
import { ErasureApi } from "./ErasureApi.ts"
import { OperatingApi } from "./OperatingApi.ts"
import { TasksApi } from "./TasksApi.ts"
import { TurnsApi } from "./TurnsApi.ts"
import { UsersApi } from "./UsersApi.ts"

/** The groups that are always served. */
export const usual = Base.make("taskchat")
  .add(ChatApi)
  .add(TurnsApi)
  .add(ConversationsApi)
  .add(TasksApi)
  .add(UsersApi)
  .add(DataApi)
  .add(OperatingApi)

/** The whole API, including the optional groups. A typed client needs nothing else. */
export class Api extends usual
  .add(ErasureApi)
  .addError(wire(InvalidRequest))
  .addError(wire(InternalError))
  .annotate(OpenApi.Title, "taskchat")
  .annotate(OpenApi.Version, "1.0.0")
  .annotate(OpenApi.Summary, "A conversational task service")
  .annotate(
    OpenApi.Description,
    `People write what they want in their own words. An agent answers and works on their task list. Every message and every
change is kept.

- **The user** is the one in the request's credentials. The user in a path must be the same, or \`me\`, which stands for
  them.
- **Errors** are problem documents (RFC 9457) with a \`code\` for programs and a sentence for people in \`detail\`. For an
  unknown address the code is \`not_found\`, for a wrong method \`method_not_allowed\`.
- **Safe to repeat**: send an \`Idempotency-Key\` with a message or a new task. For ${keyLifetime} the same key gets the first
  answer again, and nothing is done twice.
- **Limits** are per user and minute, one for chat and one for the rest; headers say how many requests are left.
- **Streams** end with exactly one event that has \`done: true\`. A stream that ends without it was cut; you can read on.`
  )
  .annotate(OpenApi.Servers, [{ url: "/" }])
  .annotate(OpenApi.License, { name: "MIT", url: "https://opensource.org/license/mit" }) {}
