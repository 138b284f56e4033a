import { Duration, Record, Schema } from "effect"
import {
  AgentBusy,
  AgentContentRefused,
  AgentContextTooLong,
  AgentFailed,
  AgentMisconfigured,
  AgentSlow,
  AgentTimeout,
  AgentUnreachable
} from "../../domain/Agent.ts"
import { typeOf } from "../../domain/Problem.ts"
import { InternalError } from "../../domain/Request.ts"
import { headers } from "./Headers.ts"
import { exampleOf, type JsonSchema, type Schemas } from "./JsonSchema.ts"

/** The details of codes that share a class. */
const sentences = new Map<string, string>(
  [
    new AgentBusy({}),
    new AgentMisconfigured(),
    new AgentSlow(),
    new AgentUnreachable(),
    new AgentFailed(),
    new AgentContentRefused(),
    new AgentContextTooLong(),
    new AgentTimeout({ limit: Duration.seconds(30) }),
    { code: InternalError.about.codes[0], detail: InternalError.about.detail }
  ].map(({ code, detail }) => [code, detail])
)

export interface ProblemExample {
  readonly code: string
  readonly status: unknown
  readonly detail: string
  readonly value: unknown
}

const isCodes = Schema.is(Schema.Array(Schema.String))

/** An example of a problem for each of its codes, from the schema that `wire` made. */
export const examplesOf = (problem: JsonSchema, all: Schemas): ReadonlyArray<ProblemExample> => {
  const { properties = {}, required = [] } = problem
  const { code: codes, detail: _, request_id: __, type: ___, ...members } = properties
  return (isCodes(codes?.enum) ? codes.enum : []).map((code) => {
    const detail = sentences.get(code) ?? problem.description ?? ""
    const { status, title, ...rest } = Record.map(
      Record.filter(members, (_, name) => required.includes(name)),
      exampleOf(all)
    )
    const request_id = headers["X-Request-Id"].example
    return { code, status, detail, value: { type: typeOf(code), title, status, detail, code, request_id, ...rest } }
  })
}

/** Whether an answer with this code has `Retry-After`. */
export const isPassing = (code: string) =>
  [
    "agent_busy",
    "erasure_in_progress",
    "idempotency_in_progress",
    "rate_limited",
    "too_many_turns",
    "turn_in_progress",
    "turn_interrupted",
    "unavailable"
  ].includes(code)

/** Whether a turn can end with this code: the same key gets such an answer again. */
export const isTurnEnd = (code: string) =>
  ["agent_failed", "agent_timeout", "turn_cancelled", "turn_interrupted"].includes(code)
