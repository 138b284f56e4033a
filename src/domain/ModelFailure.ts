import { Predicate } from "effect"

/**
 * What a provider's error means for the next request:
 * - `quota`: the quota or balance is used up
 * - `tool-call`: the provider refuses a call that its model wrote
 * - `length`: the request is too long for the model
 * - `content`: the provider refuses the content of a message
 */
export type FailureKind = "quota" | "tool-call" | "length" | "content"

/** The facts in a provider's error, without its message, which may quote the prompt or the key. */
export interface ProviderError {
  /** The HTTP status in the error, or the one it stands for. */
  readonly status: number
  /** Machine-readable; matches `[A-Za-z0-9_.-]{1,64}`. */
  readonly code: string | undefined
  readonly kind: FailureKind | undefined
}

const isKind = (name: string): name is FailureKind => ["quota", "tool-call", "length", "content"].includes(name)

const isCode = (u: unknown): u is string => typeof u === "string" && /^[A-Za-z0-9_.-]{1,64}$/.test(u)

/**
 * The error objects in a body, outermost first. A body may be an object or a list. Errors may be nested under `error`,
 * `errors`, `detail`, `response` or `innererror`, or as JSON text.
 */
export const errorsIn = (body: unknown): ReadonlyArray<Record<string, unknown>> => {
  const found: Array<Record<string, unknown>> = []
  const visit = (value: unknown, depth: number): void => {
    if (depth > 6 || found.length >= 20) return
    if (Array.isArray(value)) {
      for (const member of value.slice(0, 5)) visit(member, depth + 1)
    } else if (Predicate.isRecord(value)) {
      found.push(value)
      for (const name of wrappers) visit(value[name], depth + 1)
    } else if (typeof value === "string" && value.length < 65_536) {
      const json = depth > 0 && /^\s*[[{]/.test(value) ? parse(value) : undefined
      if (json === undefined) found.push({ message: value })
      else visit(json, depth + 1)
    }
  }
  visit(body, 0)
  return found
}

const wrappers = [
  "error",
  "errors",
  "detail",
  "details",
  "response",
  "innererror",
  "metadata",
  "raw",
  "upstreamResponse"
]

/** Parses JSON. `undefined` if it is invalid. */
export const parse = (text: string | undefined): unknown => {
  try {
    return JSON.parse(text ?? "")
  } catch {
    return undefined
  }
}

/** All messages of an error, in lower case. Only for classifying it; never shown or logged. */
export const messageOf = (body: unknown): string =>
  errorsIn(body)
    .flatMap(({ error_message, message, msg }) => [message, msg, error_message])
    .filter(Predicate.isString)
    .join("\n")
    .slice(0, 16_384)
    .toLowerCase()

/** `status` is that of the HTTP response; 200 for an error that came in place of an answer or within one. */
export const read = (status: number, body: unknown): ProviderError => {
  const errors = errorsIn(body)
  const codes = errors.flatMap(({ code, error_type, kind, reason, status, type }) => [
    code,
    type,
    error_type,
    reason,
    status,
    kind
  ])
  const names = codes.filter(isCode).filter((code) => !/^\d{1,3}$/.test(code) && code !== "error")
  const kind = kindOf(status, names, messageOf(body))
  return {
    status: status >= 300 ? status : statusOf(errors, names, kind),
    code:
      names.find((name) => !isKind(name)) ??
      codes.map((code) => (typeof code === "number" ? String(code) : code)).find(isCode),
    kind
  }
}

/** As `read`, from the text of a body. */
export const readText = (status: number, body: string | undefined): ProviderError => read(status, parse(body))

/** A failed call of a model, such as any `AiError`. */
export interface FailedCall {
  readonly _tag: string
  readonly description?: string | undefined
  readonly response?: { readonly status: number; readonly headers: Readonly<Record<string, string>> }
  readonly body?: string | undefined
}

/** A failed call for the log and the span, without the provider's message. */
export const factsOf = ({
  _tag,
  body,
  description = _tag,
  response
}: FailedCall): Readonly<Record<string, string | number>> => {
  const { code, status } = response === undefined ? {} : readText(response.status, body)
  const id = response?.headers["x-request-id"]
  return {
    model_error: description,
    ...(status !== undefined && { model_status: status }),
    ...(code !== undefined && { model_code: code }),
    ...(id !== undefined && { model_request_id: id })
  }
}

const kindOf = (status: number, names: ReadonlyArray<string>, message: string): FailureKind | undefined => {
  for (const name of names) {
    const kind = isKind(name) ? name : kinds.get(name.toLowerCase())
    if (kind !== undefined) return kind
  }
  // An error of an overloaded or broken service is about the service's limits, not about the request.
  if (status === 401 || status === 403 || status === 429 || status >= 500) return undefined
  if (status === 413) return "length"
  return phrases.find(([phrase]) => phrase.test(message))?.[1]
}

const kinds: ReadonlyMap<string, FailureKind> = new Map<string, FailureKind>([
  ["insufficient_quota", "quota"],
  ["insufficient_balance", "quota"],
  ["billing_error", "quota"],
  ["billing_hard_limit_reached", "quota"],
  ["billing_not_active", "quota"],
  ["account_deactivated", "quota"],
  ["exceeded_current_quota_error", "quota"],
  ["tool_use_failed", "tool-call"],
  ["tool_call_validation_failed", "tool-call"],
  ["malformed_function_call", "tool-call"],
  ["context_length_exceeded", "length"],
  ["context_window_exceeded", "length"],
  ["contextwindowexceedederror", "length"],
  ["model_context_window_exceeded", "length"],
  ["exceed_context_size_error", "length"],
  ["string_above_max_length", "length"],
  ["tokens_limit_reached", "length"],
  ["request_too_large", "length"],
  ["content_filter", "content"],
  ["content_filter_error", "content"],
  ["content_policy_violation", "content"],
  ["contentpolicyviolationerror", "content"],
  ["responsibleaipolicyviolation", "content"],
  ["data_inspection_failed", "content"],
  ["datainspectionfailed", "content"],
  ["moderation_error", "content"],
  ["sensitive", "content"],
  ["invalid_prompt", "content"],
  ["prohibited_content", "content"],
  ["safety", "content"],
  ["1301", "content"]
])

const phrases: ReadonlyArray<readonly [RegExp, FailureKind]> = [
  // Anthropic sends it as `invalid_request_error` with status 400.
  [/credit balance is too low/, "quota"],
  [
    /tool call validation failed|failed to (?:call a function|parse tool call)|malformed[_ ]function[_ ]call/,
    "tool-call"
  ],
  [
    /context (?:length|window|size)|maximum context|(?:prompt|input|request|messages?) (?:is|are|was) too (?:long|large)|too many (?:input |prompt |total )?tokens|reduce the (?:length|size)|(?:token|tokens|length)[^.\n]{0,60} exceed|exceed[^.\n]{0,60} (?:token|context|length)/,
    "length"
  ],
  [
    /content (?:management |usage )?polic|content[_ ]filter|usage polic|safety (?:system|filter|setting)|was flagged|has been flagged|inappropriate content|sensitive (?:content|information|word)|content exists risk|prohibited content/,
    "content"
  ]
]

/** For an error whose HTTP status is not an error status. */
const statusOf = (
  errors: ReadonlyArray<Record<string, unknown>>,
  names: ReadonlyArray<string>,
  kind: FailureKind | undefined
): number => {
  for (const error of errors) {
    for (const name of ["code", "status", "status_code", "statusCode", "http_code", "upstreamStatus"]) {
      const value = error[name]
      const status = typeof value === "string" && /^\d{3}$/.test(value) ? Number(value) : value
      if (typeof status === "number" && status >= 400 && status <= 599) return status
    }
  }
  for (const name of names) {
    const status = statuses.get(name.toLowerCase())
    if (status !== undefined) return status
  }
  return kind === undefined ? 500 : kind === "quota" ? 429 : 400
}

const statuses: ReadonlyMap<string, number> = new Map([
  ["invalid_request_error", 400],
  ["invalid_argument", 400],
  ["bad_request", 400],
  ["badrequesterror", 400],
  ["authentication_error", 401],
  ["authenticationerror", 401],
  ["invalid_api_key", 401],
  ["unauthenticated", 401],
  ["permission_error", 403],
  ["permission_denied", 403],
  ["model_not_found", 404],
  ["not_found_error", 404],
  ["notfounderror", 404],
  ["request_too_large", 413],
  ["rate_limit", 429],
  ["rate_limit_error", 429],
  ["rate_limit_exceeded", 429],
  ["ratelimiterror", 429],
  ["resource_exhausted", 429],
  ["too_many_requests", 429],
  ["insufficient_system_resource", 503],
  ["service_unavailable", 503],
  ["server_overloaded", 503],
  ["slow_down", 503],
  ["unavailable", 503],
  ["deadline_exceeded", 504],
  ["timeout", 504],
  ["timeout_error", 504],
  ["overloaded", 529],
  ["overloaded_error", 529]
])
