import { AiError } from "@effect/ai"
import { Cause, Option, Predicate } from "effect"
import { read } from "../domain/ModelFailure.ts"
import { type Headers, retryDelay } from "../domain/RetryDelay.ts"
import type { Fault } from "./Wire.ts"

/** A failed request. `body` is the provider's error, which must not be logged or shown. */
export interface Failure {
  readonly error: AiError.AiError
  readonly body?: unknown
}

/**
 * The errors of a failed request: an HTTP status, an error instead of an answer or within it, a broken connection, a
 * malformed answer. Errors are logged, so they contain only the provider's status, code, request id and retry delay.
 * They never contain headers, a query, user info or the provider's message.
 */
export interface Failures {
  readonly refused: (status: number, headers: Headers, body: unknown, description?: string) => Failure
  readonly faulty: (fault: Fault, headers: Headers) => Failure
  readonly malformed: (description: string) => Failure
  readonly lost: (cause: unknown) => Failure
  readonly silent: Failure
  readonly invalidUrl: Failure
}

export const make = (module: string, url: URL | undefined): Failures => {
  const where = {
    module,
    method: "streamText",
    request: {
      method: "POST" as const,
      url: url === undefined ? "" : `${url.origin}${url.pathname}`,
      urlParams: [],
      hash: Option.none(),
      headers: {}
    }
  }
  const lost = (description: string, cause?: unknown): Failure => ({
    error: new AiError.HttpRequestError({
      ...where,
      reason: "Transport",
      description,
      ...(cause !== undefined && { cause })
    })
  })
  const malformed = (description: string): Failure => ({
    error: new AiError.MalformedOutput({ ...where, description })
  })
  const refused: Failures["refused"] = (given, headers, body, description = "the request was refused") => {
    const { code, kind, status } = read(given, body)
    const seconds = retryDelay(headers, body)
    const id = requestId(headers)
    const error = new AiError.HttpResponseError({
      ...where,
      reason: "StatusCode",
      description,
      response: {
        status,
        headers: {
          ...(seconds !== undefined && { "retry-after": String(seconds) }),
          ...(id !== undefined && { "x-request-id": id })
        }
      },
      body: JSON.stringify({ error: { code, kind } })
    })
    return { error, body }
  }
  const silence = "fell silent"
  return {
    refused,
    malformed,
    faulty: (fault, headers) =>
      fault._tag === "Malformed"
        ? malformed(fault.description)
        : refused(200, headers, fault.error, "an error instead of an answer"),
    lost: (cause) => lost(networkCode(cause)),
    silent: lost(silence, new Cause.TimeoutException(silence)),
    invalidUrl: {
      error: new AiError.HttpRequestError({ ...where, reason: "InvalidUrl", description: "not an http(s) address" })
    }
  }
}

/** The provider's id of the request, for its support. */
const requestId = (headers: Headers): string | undefined =>
  ["x-request-id", "request-id", "apim-request-id", "cf-ray"]
    .map((name) => headers[name])
    .find((id) => id !== undefined && /^[A-Za-z0-9_.:-]{1,128}$/.test(id))

/** The system's error code, such as `ECONNREFUSED`, which may be in a nested cause. */
const networkCode = (error: unknown): string => {
  let at = error
  for (let depth = 0; depth < 5 && Predicate.isRecord(at); depth++) {
    const { code } = at
    if (typeof code === "string" && /^[A-Z][A-Z0-9_]{1,40}$/.test(code)) return code
    at = at["cause"]
  }
  return "connection lost"
}
