import { Effect, Predicate, Random } from "effect"
import { UserId } from "../../src/domain/Id.ts"
import { type Operation, operations, surprises } from "./ApiDocument.ts"
import * as McpMessages from "./McpMessages.ts"
import { type Answer, send, tokenOf } from "./Server.ts"

const texts = [
  "",
  " ",
  "a",
  "0",
  "1",
  "-1",
  "1e3",
  "9007199254740992",
  "null",
  "%",
  "é",
  "\u0300".repeat(40),
  "x".repeat(150)
]

/** Values near the limits, below and above. */
const large = [
  ", ".repeat(2000),
  "a on by ".repeat(500),
  "a next 3 jan 4 feb 5 mar\n".repeat(150),
  "a day after ".repeat(300),
  'add "(, '.repeat(500),
  "delete a and b, ".repeat(250),
  `${"a\u0315\u0300".repeat(1300)}`,
  `a${"\u0315".repeat(15)}${"\u0300".repeat(15)}`.repeat(120),
  "😀".repeat(4000),
  "x".repeat(200_000),
  "\\".repeat(60_000),
  `${"[".repeat(60)}${"]".repeat(60)}`,
  Array.from({ length: 4900 }, () => ({})),
  Array.from({ length: 4900 }, () => "a".repeat(40)),
  Object.fromEntries(Array.from({ length: 4900 }, (_, i) => [`label${i}`, i]))
]

const values = [
  ...texts,
  null,
  true,
  0,
  -1,
  1.5,
  1e300,
  [],
  {},
  ["a"],
  Array.from({ length: 40 }, () => "a"),
  { a: { b: [] } }
]

/** Messages for the agent. */
const sayings = [
  "add buy milk tomorrow at 9am",
  "add three tasks: call the bank, water the plants every monday and pay the rent on the 1st",
  "list my tasks",
  "what is due this week?",
  "done with the milk",
  "the second one",
  "rename it to buy oat milk",
  "move it to next friday at 5pm",
  "label the bank with money and errands",
  "delete everything",
  "yes",
  "undo that",
  "what can you do?"
]

const oneOf = <A>(items: ReadonlyArray<A>) => Effect.map(Random.nextIntBetween(0, items.length), (i) => items[i])

/** True with probability 1 / `n`. */
const once = (n: number) => Effect.map(Random.nextIntBetween(0, n), (i) => i === 0)

/** An example of the document, or with probability 1/4 another value. */
const valueOf = (examples: ReadonlyArray<unknown>, others: ReadonlyArray<unknown>) =>
  Effect.flatMap(once(4), (isOther) => oneOf(isOther || examples.length === 0 ? others : examples))

const anyValue = Effect.flatMap(once(12), (isLarge) => oneOf<unknown>(isLarge ? large : values))

const inPath = (value: unknown) => encodeURIComponent(String(value)).replaceAll(".", "%2E") || "0"

/** Ids of this user's data by the names of parameters. Without them, most requests would find nothing. */
type Seen = Map<string, Array<unknown>>

const keep = (seen: Seen, operation: Operation, { json, status }: Answer) => {
  if (status >= 400) return
  const found: Readonly<Record<string, unknown>> = {
    ...json,
    ...(operation.operationId === "createTask" && { task_id: json["id"] }),
    cursor: json["next_cursor"]
  }
  for (const name of ["task_id", "conversation_id", "message_id", "turn_id", "cursor"] as const) {
    const value = found[name]
    if (value !== undefined && value !== null) seen.set(name, [...(seen.get(name) ?? []).slice(-20), value])
  }
}

const targetOf = ({ parameters, path }: Operation, user: UserId, seen: Seen) =>
  Effect.gen(function* () {
    let target = path
    const query = new URLSearchParams()
    for (const { examples, in: place, name } of parameters) {
      const known = seen.get(name) ?? []
      if (place === "path") {
        const value =
          name === "user_id" && !(yield* once(10))
            ? user
            : yield* valueOf(known.length > 0 ? known : [1, ...examples], texts)
        target = target.replace(`{${name}}`, inPath(value))
      } else if (place === "query" && (yield* once(2))) {
        query.set(name, String(yield* valueOf([...known, ...examples], texts)).slice(0, 2000))
      }
    }
    return query.size === 0 ? target : `${target}?${query}`
  })

/** Values of header fields, including some that were slow to parse. */
const fields = ["", "a", "1", '"', '"1", '.repeat(1000), ",".repeat(5000), "a/b;q=".repeat(800), "x".repeat(300)]

const requestIds = ["abc-123", "~".repeat(128), "~".repeat(129), "with a space", "7", ""]

const isRequestId = (text: string | undefined) => text !== undefined && /^[!-~]{1,128}$/.test(text)

const headersOf = ({ isSecured, parameters }: Operation, user: UserId) =>
  Effect.gen(function* () {
    const headers: Record<string, string> = {}
    for (const { examples, in: place, name } of parameters) {
      if (place !== "header" || name === "X-Request-Id" || (yield* once(2))) continue
      headers[name] = String(yield* valueOf(examples, fields))
    }
    if (yield* once(4)) headers["X-Request-Id"] = (yield* oneOf(requestIds)) ?? ""
    if (yield* once(10)) headers["Accept"] = (yield* oneOf([...fields, "*/*", "text/html;q=0"])) ?? ""
    if (isSecured && !(yield* once(20))) headers["Authorization"] = `Bearer ${yield* tokenOf(user)}`
    return headers
  })

/** An example in which some members may be missing or replaced. */
const bodyOf = ({ body }: Operation): Effect.Effect<unknown> =>
  Effect.gen(function* () {
    const [media] = body
    if (media === undefined) return undefined
    const example = (yield* once(8)) ? yield* anyValue : yield* valueOf(media.examples, values)
    if (!Predicate.isRecord(example)) return example
    const changed: Record<string, unknown> = { ...example }
    if ("message" in changed && !(yield* once(6))) changed["message"] = yield* oneOf(sayings)
    for (const name of Object.keys(changed)) {
      if (yield* once(6)) changed[name] = yield* anyValue
      else if (yield* once(12)) delete changed[name]
    }
    return changed
  })

/** JSON, with probability 1/20 cut off. */
const written = (body: unknown) =>
  Effect.gen(function* () {
    const text = JSON.stringify(body) ?? ""
    return (yield* once(20)) ? text.slice(0, yield* Random.nextIntBetween(0, text.length + 1)) : text
  })

/** A request of an operation in the document, valid or invalid. */
export interface Attempt {
  readonly operation: Operation
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
  /** The body before serialisation, if it was not cut off. */
  readonly value: unknown
}

/** Operations with more parameters are tried more often. */
const weighted = operations.flatMap((operation) =>
  Array.from({ length: operation.path === "/mcp" ? 8 : operation.body.length > 0 ? 3 : 1 }, () => operation)
)

const attempt = (
  user: UserId,
  seen: Seen
): Effect.Effect<Attempt, never, Effect.Effect.Context<ReturnType<typeof tokenOf>>> =>
  Effect.gen(function* () {
    const operation = (yield* oneOf(weighted)) ?? (yield* Effect.dieMessage("The document has no operations"))
    const target = yield* targetOf(operation, user, seen)
    const headers = yield* headersOf(operation, user)
    const isMcp = operation.path === "/mcp" && !(yield* once(10))
    const message = isMcp
      ? yield* McpMessages.message([...values, ...large])
      : { headers: {}, body: yield* bodyOf(operation) }
    const body = message.body === undefined ? undefined : yield* written(message.body)
    return { operation, target, headers: { ...headers, ...message.headers }, body, value: message.body }
  })

const sent = ({ body, headers, operation, target }: Attempt) =>
  send(operation.method, target, {
    headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
    ...(body !== undefined && { body })
  }).pipe(
    Effect.catchAllDefect((why) => Effect.succeed({ status: noAnswer, headers: {}, text: String(why), json: {} }))
  )

/** Used instead of a status. */
const noAnswer = 0

/** Statuses that the document describes as answers of the protocol. */
const isProtocols = ({ operation }: Attempt, { headers }: Answer) =>
  operation.path === "/mcp" && headers["content-type"]?.startsWith("application/problem+json") === false

/** Parts of an answer that neither the document nor the protocol describes. */
const wrongIn = (one: Attempt, answer: Answer): ReadonlyArray<string> => {
  if (answer.status === noAnswer) return [answer.text]
  const given = one.headers["X-Request-Id"]
  const id = answer.headers["x-request-id"]
  return [
    ...(answer.status >= 500 ? [`status ${answer.status}`] : []),
    // The service did not read headers that are too large.
    ...(isRequestId(given) && given !== id && answer.status !== 431 ? [`the request's id ${id}`] : []),
    ...(isRequestId(id) ? [] : [`no request's id: ${id}`]),
    ...(isProtocols(one, answer) ? McpMessages.wrongIn(one.value, answer) : surprises(one.operation, answer))
  ]
}

/** Wraps each request. It may send the request again to compare the cost. */
export type Around = (attempt: Attempt, send: Effect.Effect<Answer>) => Effect.Effect<Answer>

/** The undescribed parts of a number of answers. The same seed gives the same requests. */
export const fuzz = (seed: string, requests: number, around: Around = (_, send) => send) =>
  Effect.gen(function* () {
    const user = UserId.make(yield* Random.nextIntBetween(1, 1_000_000_000))
    const seen: Seen = new Map()
    const wrong: Array<string> = []
    for (let n = 0; n < requests; n++) {
      const one = yield* attempt(user, seen)
      const context = yield* Effect.context<Effect.Effect.Context<ReturnType<typeof sent>>>()
      const answer = yield* around(one, Effect.provide(sent(one), context))
      keep(seen, one.operation, answer)
      wrong.push(...wrongIn(one, answer).map((what) => `${describe(one)}: ${what}`))
    }
    return wrong
  }).pipe(Effect.withRandom(Random.make(seed)))

export const describe = ({ body, headers, operation, target }: Attempt) => {
  const { Authorization: _, ...others } = headers
  const shown = (text: string) => (text.length > 300 ? `${text.slice(0, 300)}… (${text.length})` : text)
  return `${operation.method} ${shown(target)} ${shown(JSON.stringify(others))} ${shown(body ?? "")}`
}
