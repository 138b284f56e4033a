import { Ajv2020 } from "ajv/dist/2020.js"
import addFormats from "ajv-formats"
import { Array as Arr, Predicate, Schema } from "effect"
import { openApi } from "../../src/api/OpenApi.ts"
import type { Answer } from "./Server.ts"

/** The parts of an OpenAPI document that the tests use. `at` is a JSON pointer. */
interface Located {
  readonly at: string
}

interface Parameter extends Located {
  readonly name: string
  readonly in: string
  readonly description: string | undefined
  readonly required: boolean
  readonly examples: ReadonlyArray<unknown>
}

interface Media extends Located {
  readonly type: string
  readonly examples: ReadonlyArray<unknown>
}

interface Header extends Located {
  /** In lower case. */
  readonly name: string
  readonly required: boolean
  readonly examples: ReadonlyArray<unknown>
}

interface Response extends Located {
  /** `200`, or `4XX` for all such statuses. */
  readonly status: string
  readonly description: string
  readonly headers: ReadonlyArray<Header>
  readonly content: ReadonlyArray<Media>
  readonly codes: ReadonlyArray<string>
}

export interface Operation extends Located {
  readonly method: string
  readonly path: string
  readonly operationId: string
  readonly summary: string
  readonly description: string
  readonly isSecured: boolean
  readonly parameters: ReadonlyArray<Parameter>
  readonly body: ReadonlyArray<Media>
  readonly responses: ReadonlyArray<Response>
}

type Members = Readonly<Record<string, unknown>>

const document: Members = JSON.parse(JSON.stringify(openApi()))

const membersOf = (value: unknown): Members => (Predicate.isRecord(value) ? value : {})
const listOf = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])
const textOf = (value: unknown) => (Predicate.isString(value) ? value : "")

const token = (name: string) => encodeURIComponent(name.replaceAll("~", "~0").replaceAll("/", "~1"))

/** The value at a pointer and its own pointer, after following a reference. */
const follow = (at: string): readonly [at: string, value: Members] => {
  const names = at.split("/").slice(1)
  const value = names.reduce<unknown>((value, name) => {
    const key = decodeURIComponent(name).replaceAll("~1", "/").replaceAll("~0", "~")
    const inner = Array.isArray(value) ? value[Number(key)] : membersOf(value)[key]
    if (inner === undefined) throw new Error(`${at} points at nothing`)
    return inner
  }, document)
  const { $ref } = membersOf(value)
  return Predicate.isString($ref) ? follow($ref) : [at, membersOf(value)]
}

const entriesOf = (at: string) => {
  const [there, value] = follow(at)
  return Object.keys(value).map((name) => [name, `${there}/${token(name)}`] as const)
}

/** The examples of a media type, parameter or header: its own and its schema's. */
const examplesOf = (at: string): ReadonlyArray<unknown> => {
  const [, value] = follow(at)
  const [, schema] = follow(`${at}/schema`)
  return [
    ...("example" in value ? [value["example"]] : []),
    ...Object.keys(membersOf(value["examples"])).map((name) => follow(`${at}/examples/${token(name)}`)[1]["value"]),
    ...listOf(schema["examples"]),
    ...listOf(schema["enum"]),
    ...("default" in schema ? [schema["default"]] : [])
  ]
}

const media = (at: string): ReadonlyArray<Media> =>
  entriesOf(at).map(([type, at]) => ({ type, at, examples: examplesOf(at) }))

const isCode = Schema.is(Schema.Struct({ code: Schema.String }))

const response = (status: string, given: string): Response => {
  const [at, value] = follow(given)
  const content = "content" in value ? media(`${at}/content`) : []
  return {
    status,
    at,
    description: textOf(value["description"]),
    headers: entriesOf(`${at}/headers`).map(([name, given]) => {
      const [at, value] = follow(given)
      return { name: name.toLowerCase(), at, required: value["required"] === true, examples: examplesOf(at) }
    }),
    content,
    codes: Arr.dedupe(content.flatMap(({ examples }) => examples.filter(isCode).map(({ code }) => code)))
  }
}

export const operations: ReadonlyArray<Operation> = entriesOf("#/paths").flatMap(([path, item]) =>
  entriesOf(item).map(([method, at]) => {
    const [, value] = follow(at)
    return {
      at,
      path,
      method: method.toUpperCase(),
      operationId: textOf(value["operationId"]),
      summary: textOf(value["summary"]),
      description: textOf(value["description"]),
      isSecured: listOf(value["security"]).length > 0,
      parameters: listOf(value["parameters"]).map((_, i) => {
        const [there, parameter] = follow(`${at}/parameters/${i}`)
        return {
          at: there,
          name: textOf(parameter["name"]),
          in: textOf(parameter["in"]),
          description: Predicate.isString(parameter["description"]) ? parameter["description"] : undefined,
          required: parameter["required"] === true,
          examples: examplesOf(there)
        }
      }),
      body: "requestBody" in value ? media(`${at}/requestBody/content`) : [],
      responses: entriesOf(`${at}/responses`).map(([status, at]) => response(status, at))
    }
  })
)

const ajv = new Ajv2020({ strict: false, allErrors: true, schemas: [{ ...document, $id: "document" }] })
addFormats.default(ajv)

/** The errors of a value by the `schema` of a media type, parameter or header. Empty if it is valid. */
export const faults = ({ at }: Located, value: unknown): ReadonlyArray<string> => {
  const validate = ajv.getSchema(`document${at}/schema`)
  if (validate === undefined) throw new Error(`${at} has no schema`)
  return validate(value) ? [] : (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`)
}

/** Headers of HTTP or of the connection. */
const general = ["connection", "content-length", "content-type", "date", "keep-alive", "transfer-encoding", "vary"]

/** The operation that a request is for. */
export const operationOf = (method: string, path: string) => {
  const [pathname = ""] = path.split("?")
  const pattern = (template: string) => new RegExp(`^${template.replaceAll(/\{[^}]+\}/g, "[^/]+")}$`)
  const found = operations.find((one) => one.method === method && pattern(one.path).test(pathname))
  if (found === undefined) throw new Error(`${method} ${path} is not in the document`)
  return found
}

const isInteger = (text: string) => /^(0|[1-9][0-9]*)$/.test(text)

/** Parts of an answer that the document does not describe. */
export const surprises = ({ responses }: Operation, { headers, json, status, text }: Answer): ReadonlyArray<string> => {
  const response =
    responses.find((one) => one.status === String(status)) ??
    responses.find((one) => one.status === `${String(status)[0]}XX`)
  if (response === undefined) return [`status ${status}`]
  const given = Object.keys(headers).filter((name) => !general.includes(name))
  const known = response.headers.map(({ name }) => name)
  const media = response.content.find(({ type }) => type === headers["content-type"])
  const body = media?.type.endsWith("json") === true ? json : text
  return [
    ...response.headers.filter(({ name, required }) => required && !(name in headers)).map(({ name }) => `no ${name}`),
    ...given.filter((name) => !known.includes(name)).map((name) => `a header ${name}`),
    ...response.headers.flatMap((header) => {
      const value = headers[header.name]
      if (value === undefined) return []
      // The type of a header value is not visible in its text.
      const read = isInteger(value) && faults(header, value).length > 0 ? Number(value) : value
      return faults(header, read).map((fault) => `${header.name}${fault}`)
    }),
    ...(media === undefined
      ? response.content.length === 0 && text === ""
        ? []
        : [`the type ${headers["content-type"]}`]
      : faults(media, body)),
    ...(Predicate.isString(json["code"]) && status >= 400 && !response.codes.includes(json["code"])
      ? [`the code ${json["code"]}`]
      : [])
  ]
}
