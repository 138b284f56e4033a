import { Headers, HttpApiError, HttpServerError, HttpServerResponse } from "@effect/platform"
import { Cause, Chunk } from "effect"
import { ErasureInProgress } from "../domain/Erasure.ts"
import { type AnyProblem, contentType, documentOf, isProblem } from "../domain/Problem.ts"
import { InternalError, InvalidRequest, NotFound, Unavailable } from "../domain/Request.ts"
import { isErasing, isUnavailable } from "../sql/SqlErrors.ts"

/** What a handler may fail with. */
export type Failure = AnyProblem | HttpApiError.HttpApiDecodeError | HttpServerError.RouteNotFound

export const isFailure = (u: unknown): u is Failure =>
  isProblem(u) || u instanceof HttpApiError.HttpApiDecodeError || u instanceof HttpServerError.RouteNotFound

/** Turns a failure into a problem, by its type. Nothing else does. */
export const problemOf = (failure: Failure): AnyProblem => {
  if (isProblem(failure)) return failure
  return failure._tag === "HttpApiDecodeError" ? invalid(failure) : new NotFound()
}

/** Everything else is a defect of ours, unless the database is away or refuses the user's rows during an erasure. */
export const problemOfDefect = (cause: Cause.Cause<unknown>): AnyProblem => {
  const defects = Cause.defects(cause)
  if (Chunk.some(defects, isErasing)) return new ErasureInProgress({ retryAfter: 1 })
  return Chunk.some(defects, isUnavailable) ? new Unavailable({ retryAfter: 1 }) : new InternalError()
}

const invalid = ({ issues }: HttpApiError.HttpApiDecodeError) => {
  const messages = new Map<string, ReadonlyArray<string>>()
  for (const { message, path } of issues) {
    const name = path.map(String).join(".")
    // A nullable value has a second issue as a whole, after the issues within it.
    const isKnown = Array.from(messages.keys()).some((known) => known.startsWith(`${name}.`))
    if (!isKnown) messages.set(name, [...(messages.get(name) ?? []), withoutValue(message)])
  }
  return new InvalidRequest({
    errors: Array.from(messages, ([path, messages]) => ({ path, message: inWords(messages).slice(0, 300) }))
  })
}

/** A schema's message ends with the invalid value, which may be text from people. */
const withoutValue = (message: string) => message.replace(/, actual .*$/s, "")

/** What is expected, in plain words. The issue of a choice is one message for each of its words. */
const inWords = (messages: ReadonlyArray<string>): string => {
  const choices = messages.flatMap((message) => /^Expected "(.*)"$/.exec(message)?.slice(1) ?? [])
  if (choices.length > 0) return `must be ${listed(choices)}`
  const [message = ""] = messages
  const expected = /^Expected (.*)$/s.exec(message)?.[1]
  if (expected === undefined) return message
  if (expected.startsWith("ReadonlyArray<")) return "must be a list"
  if (expected.endsWith("(Encoded side)")) return "must be an object"
  return `must be ${typeWords[expected] ?? expected}`
}

const typeWords: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  boolean: "true or false"
}

const listed = (words: ReadonlyArray<string>) =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`

/** The response for a problem. */
export const respond = (problem: AnyProblem, requestId: string) => {
  const { about } = problem
  const body = documentOf(problem, requestId)
  const { code, detail } = body
  return HttpServerResponse.unsafeJson(body, {
    status: about.status,
    contentType,
    headers: Headers.fromInput({
      ...problem.headers,
      ...(about.status === 401 ? { "www-authenticate": challenge(code, detail) } : {}),
      ...(about.status === 403 || about.status === 404 ? { "x-error-details": detail } : {}),
      ...(problem.retryAfter === undefined ? {} : { "retry-after": String(Math.max(1, Math.ceil(problem.retryAfter))) })
    })
  })
}

/** RFC 6750, section 3: a request without a token gets only the scheme. */
const challenge = (code: string, detail: string) =>
  code === "missing_token"
    ? 'Bearer realm="taskchat"'
    : `Bearer realm="taskchat", error="invalid_token", error_description="${detail}"`
