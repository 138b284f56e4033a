import { Array as Arr, Predicate, Record } from "effect"
import { contentType } from "../../domain/Problem.ts"
import * as McpApi from "../McpApi.ts"
import * as StreamEvent from "../StreamEvent.ts"
import * as UiMessageChunk from "../UiMessageChunk.ts"
import { capitals, type Header, headers, rateLimit } from "./Headers.ts"
import { exampleOf, type JsonSchema, nameOf, oneOf, reachable, refTo, type Schemas, tidy } from "./JsonSchema.ts"
import { examplesOf, isPassing, isTurnEnd } from "./Problems.ts"

interface Ref {
  readonly $ref: string
}

interface Parameter {
  readonly name: string
  readonly in: string
  readonly description?: string
  readonly required: boolean
  readonly schema: JsonSchema
  readonly example?: unknown
}

interface Media {
  readonly schema: JsonSchema
  readonly example?: unknown
  readonly examples?: Readonly<Record<string, Ref>>
}

type Content = Readonly<Record<string, Media>>

interface Response {
  readonly description: string
  readonly headers?: Readonly<Record<string, Ref | object>>
  readonly content?: Content
}

interface Operation {
  readonly security: ReadonlyArray<unknown>
  readonly parameters: ReadonlyArray<Parameter>
  readonly requestBody?: { readonly required: boolean; readonly content: Content }
  readonly responses: Readonly<Record<string, Response>>
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Schemas; readonly securitySchemes: unknown }
}

interface Traits {
  readonly isSecured: boolean
  readonly isIdempotent: boolean
}

const noTraits: Traits = { isSecured: false, isIdempotent: false }

const when = (condition: boolean, ...names: ReadonlyArray<Header>) => (condition ? names : [])

const refsTo = (kind: string, names: ReadonlyArray<string>) =>
  Record.fromIterableWith(names, (name) => [name, { $ref: `#/components/${kind}/${name}` }])

const events = (contentMediaType: string, event: string, example: string): Media => ({
  schema: { type: "string", contentMediaType, contentSchema: refTo(event) },
  example
})

/** A turn's stream in each format. */
const stream: Content = {
  "text/event-stream": events("text/event-stream", "StreamEvent", StreamEvent.example),
  [UiMessageChunk.contentType]: events("text/event-stream", "UiMessageChunk", UiMessageChunk.example)
}

const mcpEvent: Content = { "text/event-stream": events("text/event-stream", "JsonRpcAnswer", McpApi.event) }

/** Headers of answers that are not always streams. */
const unrequired = (...names: ReadonlyArray<Header>) =>
  Record.fromIterableWith(names, (name) => [name, { ...headers[name], required: false }])

const requestId: Parameter = {
  name: "X-Request-Id",
  in: "header",
  description: "The caller's id for the request, 1 to 128 visible ASCII characters; an invalid one is replaced",
  required: false,
  schema: { type: "string", examples: [headers["X-Request-Id"].example] }
}

/**
 * Adds the parts that the platform's document does not have: examples, headers, codes, and the formats of errors and
 * streams.
 */
export function complete<Rest extends Document>({ components, paths, ...rest }: Rest) {
  const tidied = tidy(components.schemas)
  const schemas = Record.map(components.schemas, tidied)
  // Remove the platform's error for invalid requests, which is never sent.
  const platforms = reachable([refTo("HttpApiDecodeError")], components.schemas)
  const isPlatforms = (name: string) => platforms.has(name)
  const schemaOf = (ref: JsonSchema) => schemas[nameOf(ref) ?? ""] ?? {}
  const example = exampleOf(schemas)

  // The platform drops the name of a schema with a status annotation.
  const names = new Map(Object.entries(schemas).map(([name, schema]) => [JSON.stringify(schema), name]))
  const named = (schema: JsonSchema) => {
    const name = names.get(JSON.stringify(schema))
    return name === undefined ? schema : refTo(name)
  }

  const media = (given: Media): Media => {
    const schema = named(tidied(given.schema))
    return { schema, example: example(schema) }
  }

  const parameter = (given: Parameter): Parameter => {
    const { description = schemaOf(given.schema).description, ...schema } = tidied(given.schema)
    return {
      name: capitals[given.name] ?? given.name,
      in: given.in,
      ...(description === undefined ? {} : { description }),
      required: given.required,
      schema,
      // Examples of optional members stay in their schema: interactive pages would send them.
      ...(given.required ? { example: example(schema) } : {})
    }
  }

  const success = (status: string, given: Response, { isIdempotent, isSecured }: Traits): Response => {
    const isStream = given.content?.["text/event-stream"] !== undefined
    const json = Record.map(given.content ?? {}, media)
    const isMcp = Object.values(json).some(({ schema }) => nameOf(schema) === "JsonRpcAnswer")
    const content = isStream ? stream : isMcp ? { ...json, ...mcpEvent } : json
    const isFile = "application/jsonl" in content || "text/calendar" in content
    const isTask = Object.values(content).some(({ schema }) => nameOf(schema) === "Task")
    return {
      description: given.description,
      headers: {
        ...(isMcp && unrequired("Cache-Control", "X-Accel-Buffering")),
        ...refsTo("headers", [
          "X-Request-Id",
          "X-Content-Type-Options",
          ...when(isSecured, ...rateLimit),
          ...when(isTask, "ETag"),
          ...when(status === "201", "Location"),
          ...when(status === "202", "Retry-After"),
          ...when(isFile, "Content-Disposition"),
          ...when(isSecured && !isMcp, "Cache-Control"),
          ...when(isStream, "X-Accel-Buffering", "X-Vercel-AI-UI-Message-Stream"),
          ...when("text/html" in content, "Content-Security-Policy"),
          ...when(isIdempotent, "Idempotent-Replayed")
        ])
      },
      ...(given.content && { content })
    }
  }

  const problem = (names: ReadonlyArray<string>, { isIdempotent, isSecured }: Traits): Response => {
    const examples = names.flatMap((name) => examplesOf(schemas[name] ?? {}, schemas))
    const codes = Arr.dedupe(examples.map(({ code }) => code))
    const statuses = examples.map(({ status }) => status)
    const lines = Arr.dedupe(examples.map(({ code, detail }) => `\`${code}\`: ${detail}`))
    return {
      description: lines.length === 1 ? lines.join() : lines.map((line) => `- ${line}`).join("\n"),
      headers: refsTo("headers", [
        "X-Request-Id",
        "X-Content-Type-Options",
        ...when(isSecured, "Cache-Control"),
        ...when(isSecured && !statuses.includes(401), ...rateLimit),
        ...when(isIdempotent && codes.some(isTurnEnd), "Idempotent-Replayed"),
        ...when(statuses.includes(401), "WWW-Authenticate"),
        ...when(statuses.includes(403) || statuses.includes(404), "X-Error-Details"),
        ...when(statuses.includes(405), "Allow"),
        ...when(codes.some(isPassing), "Retry-After")
      ]),
      content: { [contentType]: { schema: oneOf(names.map(refTo)), examples: refsTo("examples", codes) } }
    }
  }

  /** Many operations have the same errors, so each is written once. */
  const problems = new Map<string, Response>()
  const refuse = (names: ReadonlyArray<string>, traits: Traits): Ref => {
    const name = `${traits.isSecured ? "" : "Public"}${names.map((name) => name.replace(/Problem$/, "")).join("Or")}`
    problems.set(name, problem(names, traits))
    return { $ref: `#/components/responses/${name}` }
  }
  const failure = ({ content = {} }: Response, traits: Traits) => {
    const names = Object.values(content).flatMap(({ schema }) => (schema.anyOf ?? [schema]).map(nameOf))
    return refuse(Arr.dedupe(names.filter(Predicate.isString).filter((name) => !isPlatforms(name))), traits)
  }

  const operation = (given: Operation) => {
    const traits = {
      isSecured: given.security.length > 0,
      isIdempotent: given.parameters.some(({ name }) => name === "idempotency-key")
    }
    const { parameters, requestBody, responses, ...rest } = given
    const takesNothing = parameters.length === 0 && requestBody === undefined
    return {
      ...rest,
      parameters: [...parameters.map(parameter), { $ref: `#/components/parameters/${requestId.name}` }],
      ...(requestBody && { requestBody: { ...requestBody, content: Record.map(requestBody.content, media) } }),
      responses: {
        ...Record.mapEntries(responses, (response, status): [string, Response | Ref] =>
          Number(status) < 400
            ? [status, success(status, response, traits)]
            : // It cannot be asked wrongly, but beside.
              status === "400" && takesNothing
              ? ["4XX", refuse(["NotFoundProblem", "MethodNotAllowedProblem"], traits)]
              : [status, failure(response, traits)]
        ),
        // Sent by the listener, before the request is parsed.
        408: refuse(["RequestTimeoutProblem"], noTraits),
        431: refuse(["HeadersTooLargeProblem"], noTraits)
      }
    }
  }

  const completed = Record.map(paths, Record.map(operation))
  return {
    ...rest,
    paths: completed,
    components: {
      ...components,
      parameters: { [requestId.name]: requestId },
      headers,
      responses: Object.fromEntries(problems),
      examples: Object.fromEntries(
        Arr.dedupeWith(
          Object.values(schemas).flatMap((problem) => examplesOf(problem, schemas)),
          (a, b) => a.code === b.code
        ).map(({ code, detail, value }) => [code, { summary: detail, value }])
      ),
      schemas: Record.filter(schemas, (_, name) => !isPlatforms(name))
    }
  }
}
