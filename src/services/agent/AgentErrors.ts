import type { AiError } from "@effect/ai"
import { Cause, Option, Schema } from "effect"
import {
  AgentBusy,
  type AgentError,
  AgentFailed,
  AgentMisconfigured,
  AgentSlow,
  AgentUnreachable
} from "../../domain/Agent.ts"

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
      return fromStatus(error)
    case "MalformedInput":
    case "MalformedOutput":
    case "UnknownError":
      return new AgentFailed()
  }
}

/** Whether the same request may well succeed a moment later. Silence is not: waiting for it has cost enough. */
export const isTransient = (error: AiError.AiError): boolean => {
  if (error._tag === "HttpRequestError") return error.reason === "Transport" && !Cause.isTimeoutException(error.cause)
  if (error._tag !== "HttpResponseError") return false
  if (error.reason === "Decode") return true
  if (error.reason !== "StatusCode" || isQuota(error.body)) return false
  const { status } = error.response
  return status === 408 || status === 409 || status === 429 || status >= 500
}

const fromStatus = ({ body, response: { headers, status } }: AiError.HttpResponseError): AgentError => {
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
      if (isQuota(body)) return new AgentMisconfigured()
      const seconds = retryAfter(headers)
      return new AgentBusy(seconds === undefined ? {} : { retryAfter: seconds })
    }
    default:
      return isQuota(body) ? new AgentMisconfigured() : new AgentFailed()
  }
}

const ErrorBody = Schema.parseJson(
  Schema.Struct({
    error: Schema.Struct({ code: Schema.optional(Schema.Unknown), type: Schema.optional(Schema.Unknown) })
  })
)
const decodeBody = Schema.decodeUnknownOption(ErrorBody)

const quotaCodes: ReadonlySet<unknown> = new Set([
  "insufficient_quota",
  "billing_hard_limit_reached",
  "billing_not_active",
  "account_deactivated"
])

/** 429 is "too fast" as well as "nothing left to spend"; only the code in the body tells which. */
const isQuota = (body: string | undefined) =>
  Option.exists(decodeBody(body), ({ error }) => quotaCodes.has(error.code) || quotaCodes.has(error.type))

/** Whole seconds, rounded up. A date is read against the sender's own clock, so that ours does not matter. */
const retryAfter = ({
  date,
  "retry-after": value,
  "retry-after-ms": ms
}: Readonly<Record<string, string>>): number | undefined => {
  const seconds = decimal(ms) === undefined ? decimal(value) : Number(ms) / 1000
  if (seconds !== undefined) return Math.ceil(seconds)
  const wait = Date.parse(value ?? "") - Date.parse(date ?? "")
  return Number.isNaN(wait) ? undefined : Math.max(0, Math.ceil(wait / 1000))
}

const decimal = (value: string | undefined) =>
  value !== undefined && /^\d{1,9}(\.\d{1,9})?$/.test(value.trim()) ? Number(value) : undefined
