import { Effect, Random } from "effect"
import { UserId } from "../../src/domain/Id.ts"
import { type Operation, operations, surprises } from "./ApiDocument.ts"
import { send, tokenOf } from "./Server.ts"

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

const oneOf = <A>(items: ReadonlyArray<A>) => Effect.map(Random.nextIntBetween(0, items.length), (i) => items[i])

/** True once in `n` times. */
const once = (n: number) => Effect.map(Random.nextIntBetween(0, n), (i) => i === 0)

/** A value that the document gives as an example, or once in four times any other. */
const valueOf = (examples: ReadonlyArray<unknown>, others: ReadonlyArray<unknown>) =>
  Effect.flatMap(once(4), (isOther) => oneOf(isOther || examples.length === 0 ? others : examples))

const inPath = (value: unknown) => encodeURIComponent(String(value)).replaceAll(".", "%2E") || "0"

const targetOf = ({ parameters, path }: Operation, user: UserId) =>
  Effect.gen(function* () {
    let target = path
    const query = new URLSearchParams()
    for (const { examples, in: place, name } of parameters) {
      if (place === "path") {
        const value = name === "user_id" && !(yield* once(10)) ? user : yield* valueOf([1, 2, ...examples], texts)
        target = target.replace(`{${name}}`, inPath(value))
      } else if (place === "query" && (yield* once(2))) query.set(name, String(yield* valueOf(examples, texts)))
    }
    return query.size === 0 ? target : `${target}?${query}`
  })

const headersOf = ({ isSecured, parameters }: Operation, user: UserId) =>
  Effect.gen(function* () {
    const headers: Record<string, string> = {}
    for (const { examples, in: place, name } of parameters) {
      // A name that is a number would be checked as one.
      if (place !== "header" || name === "X-Request-Id" || (yield* once(2))) continue
      headers[name] = String(yield* valueOf(examples, ["", "a", "1", '"', "x".repeat(300)]))
    }
    if (isSecured && !(yield* once(20))) headers["Authorization"] = `Bearer ${yield* tokenOf(user)}`
    return headers
  })

/** An example with none, one or several members that are missing or something else. */
const bodyOf = ({ body }: Operation) =>
  Effect.gen(function* () {
    const [media] = body
    if (media === undefined) return undefined
    const example = yield* valueOf(media.examples, values)
    if (typeof example !== "object" || example === null || Array.isArray(example)) return JSON.stringify(example) ?? ""
    const changed: Record<string, unknown> = { ...example }
    for (const name of Object.keys(changed)) {
      if (yield* once(6)) changed[name] = yield* oneOf(values)
      else if (yield* once(12)) delete changed[name]
    }
    const text = JSON.stringify(changed)
    return (yield* once(20)) ? text.slice(0, yield* Random.nextIntBetween(0, text.length)) : text
  })

/** A request that the document knows, valid or not, and what of its answer the document does not know. */
const attempt = (user: UserId) =>
  Effect.gen(function* () {
    const operation = (yield* oneOf(operations)) ?? (yield* Effect.dieMessage("The document has no operations"))
    const target = yield* targetOf(operation, user)
    const headers = yield* headersOf(operation, user)
    const body = yield* bodyOf(operation)
    const answer = yield* send(operation.method, target, {
      headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
      ...(body !== undefined && { body })
    })
    // Errors within MCP are JSON-RPC's, of which the document says no more than that.
    const isProtocols = operation.path === "/mcp" && answer.headers["content-type"] === "application/json"
    const unknown = isProtocols ? [] : surprises(operation, answer)
    const wrong = [...unknown, ...(answer.status >= 500 ? [`status ${answer.status}`] : [])]
    return wrong.map((what) => `${operation.method} ${target} ${body?.slice(0, 200) ?? ""}: ${what}`)
  })

/** What of so many answers the document does not know; the same requests for the same seed. */
export const fuzz = (seed: string, requests: number) =>
  Effect.gen(function* () {
    const user = UserId.make(yield* Random.nextIntBetween(1, 1_000_000_000))
    return (yield* Effect.forEach(Array.from({ length: requests }), () => attempt(user))).flat()
  }).pipe(Effect.withRandom(Random.make(seed)))
