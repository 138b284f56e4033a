import type { AiError, Response } from "@effect/ai"
import { Cause } from "effect"
import {
  AgentBusy,
  AgentContentRefused,
  AgentContextTooLong,
  AgentCutOff,
  type AgentError,
  AgentFailed,
  AgentMisconfigured,
  AgentSlow,
  AgentUnreachable
} from "../../domain/Agent.ts"
import { type FailureKind, type ProviderError, parse, readText } from "../../domain/ModelFailure.ts"
import { retryDelay } from "../../domain/RetryDelay.ts"

/** What a failed call of a model means for the caller, by tag, status, cause and the provider's own error code. */
export const fromAiError = (error: AiError.AiError): AgentError => {
  switch (error._tag) {
    case "HttpRequestError":
      switch (error.reason) {
        case "InvalidUrl":
          return new AgentMisconfigured()
        case "Encode":
          return new AgentFailed()
        case "Transport":
          return Cause.isTimeoutException(error.cause) ? new AgentSlow() : new AgentUnreachable()
      }
      break
    case "HttpResponseError":
      // `Decode` is a body that could not be read to its end.
      if (error.reason !== "StatusCode") return error.reason === "Decode" ? new AgentUnreachable() : new AgentFailed()
      return fromResponse(error)
    case "MalformedInput":
    case "MalformedOutput":
    case "UnknownError":
      return new AgentFailed()
  }
}

/** What an answer that ended for another reason than that it is complete means for the caller. */
export const fromReason = (reason: Response.FinishReason | undefined): AgentError => {
  switch (reason) {
    case "length":
      return new AgentCutOff()
    case "content-filter":
      return new AgentContentRefused()
    default:
      return new AgentFailed()
  }
}

/** Whether the same request may well succeed a moment later. Silence is not: waiting for it has cost enough. */
export const isTransient = (error: AiError.AiError): boolean => {
  if (error._tag === "HttpRequestError") return error.reason === "Transport" && !Cause.isTimeoutException(error.cause)
  if (error._tag !== "HttpResponseError") return false
  if (error.reason === "Decode") return true
  const { kind, status } = errorOf(error)
  if (error.reason !== "StatusCode" || kind !== undefined) return false
  return status === 408 || status === 409 || status === 429 || status >= 500
}

/** Whether the model's service did not take the request, so that it costs nothing. */
export const isUntaken = (error: AiError.AiError): boolean =>
  error._tag === "HttpRequestError"
    ? !Cause.isTimeoutException(error.cause)
    : error._tag === "HttpResponseError" && error.reason === "StatusCode"

/** A request that the provider refuses for what is in it, and why as far as it says; `undefined` for other failures. */
export const refusalOf = (error: AiError.AiError): FailureKind | "unknown" | undefined => {
  if (error._tag !== "HttpResponseError" || error.reason !== "StatusCode") return undefined
  const { kind, status } = errorOf(error)
  if (kind === "quota") return undefined
  return kind ?? (status === 400 || status === 422 ? "unknown" : undefined)
}

const errorOf = ({ body, response: { status } }: AiError.HttpResponseError): ProviderError => readText(status, body)

const fromResponse = (error: AiError.HttpResponseError): AgentError => {
  const { kind, status } = errorOf(error)
  switch (kind) {
    case "quota":
      return new AgentMisconfigured()
    case "content":
      return new AgentContentRefused()
    case "length":
      return new AgentContextTooLong()
    default:
      return fromStatus(status, error)
  }
}

const fromStatus = (status: number, { body, response: { headers } }: AiError.HttpResponseError): AgentError => {
  switch (status) {
    case 401:
    case 402: // how several providers say that the account has no credit left
    case 403:
    case 404:
      return new AgentMisconfigured()
    case 408:
    case 504:
      return new AgentSlow()
    case 429:
    case 503:
    case 529: {
      const seconds = retryDelay(headers, parse(body))
      return new AgentBusy(seconds === undefined ? {} : { retryAfter: Math.ceil(seconds) })
    }
    default:
      // Redirected: the address is that of something else.
      return status >= 300 && status < 400 ? new AgentMisconfigured() : new AgentFailed()
  }
}
