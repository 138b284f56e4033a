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

/** The error of a failed call of a model, from tag, status, cause and the provider's error code. */
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
      // `Decode` means that the body broke off.
      if (error.reason !== "StatusCode") return error.reason === "Decode" ? new AgentUnreachable() : new AgentFailed()
      return fromResponse(error)
    case "MalformedInput":
    case "MalformedOutput":
    case "UnknownError":
      return new AgentFailed()
  }
}

/** The error of an answer that ended before it was complete. */
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

/** Whether to retry the same request. Not after silence, which has cost enough time. */
export const isTransient = (error: AiError.AiError): boolean => {
  if (error._tag === "HttpRequestError") return error.reason === "Transport" && !Cause.isTimeoutException(error.cause)
  if (error._tag !== "HttpResponseError") return false
  if (error.reason === "Decode") return true
  const { kind, status } = errorOf(error)
  if (error.reason !== "StatusCode" || kind !== undefined) return false
  return status === 408 || status === 409 || status === 429 || status >= 500
}

/** Whether the model's service did not accept the request, so that it costs nothing. */
export const isUntaken = (error: AiError.AiError): boolean =>
  error._tag === "HttpRequestError"
    ? !Cause.isTimeoutException(error.cause)
    : error._tag === "HttpResponseError" && error.reason === "StatusCode"

/** The reason for which the provider refuses a request's content, if it says; `undefined` for other failures. */
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
      // A redirect: the address is wrong.
      return status >= 300 && status < 400 ? new AgentMisconfigured() : new AgentFailed()
  }
}
