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

/** The whole API, with what is served only if it is asked for. A typed client needs no more; nothing here runs. */
export class Api extends usual
  .add(ErasureApi)
  .addError(wire(InvalidRequest))
  .addError(wire(InternalError))
  .annotate(OpenApi.Title, "taskchat")
  .annotate(OpenApi.Version, "1.0.0")
  .annotate(OpenApi.Summary, "A conversational task service")
  .annotate(
    OpenApi.Description,
    `People write what they want in their own words; an agent answers and works on their task list; everything that was
said and done is kept.

- **Who asks** is whoever a request's credentials name; the user in a path has to be the same, or \`me\`, which stands for
  them.
- **Errors** are problem documents (RFC 9457) with a \`code\` for programs and a sentence for people in \`detail\`. At an
  address that there is not, the code is \`not_found\`; a method that an address does not take is \`method_not_allowed\`.
- **Safe to repeat**: with an \`Idempotency-Key\`, sending a message or a new task again within ${keyLifetime} gives the first
  answer again and does nothing twice.
- **Limits** are per user and minute, one for chat and one for the rest; headers say how much is left.
- **Streams** end with exactly one event that has \`done: true\`. One that ends without it was cut and can be read on.`
  )
  .annotate(OpenApi.Servers, [{ url: "/" }])
  .annotate(OpenApi.License, { name: "MIT", url: "https://opensource.org/license/mit" }) {}
