import { Context, DateTime, Option, Schema } from "effect"
import { TurnId, type UserId } from "./Id.ts"
import { Problem } from "./Problem.ts"
import { ToolCalls } from "./ToolCall.ts"

/** The user of the request. Always from the verified token, never from a URL, a body or the model. */
export class CurrentUser extends Context.Tag("taskchat/domain/CurrentUser")<CurrentUser, { readonly id: UserId }>() {}

/**
 * The IANA name of a time zone that this runtime knows. It is checked where it comes in, so `zoneOf` cannot fail later.
 */
export const TimeZone = Schema.String.pipe(
  Schema.filter((name) => isZone(name) || "must be an IANA time zone such as Europe/Berlin", {
    identifier: "TimeZone",
    description: "IANA name of a time zone",
    jsonSchema: { type: "string", description: "IANA name of a time zone", examples: ["Europe/Berlin"] }
  })
)

const isZone = (name: string) =>
  name.length <= 64 && /^[A-Za-z]/.test(name) && Option.isSome(DateTime.zoneMakeNamed(name))

/**
 * The zone of a valid `TimeZone`. An invalid name is a defect. Functions of `DateTime` that take a zone as
 * text must not be used: they read "GMT" and "GMT0" as offsets without a number, and fail.
 */
export const zoneOf = (name: string): DateTime.TimeZone.Named => DateTime.zoneUnsafeMakeNamed(name)

const issues = Schema.Struct({
  errors: Schema.Array(
    Schema.Struct({
      path: Schema.String.annotations({
        description: "The path of the member, parameter or header, with dots; empty for the whole body",
        examples: ["message"]
      }),
      message: Schema.String.annotations({ examples: ["must not be blank"] })
    })
  ).annotations({ description: "What is wrong, and where" })
})

export class InvalidRequest extends Problem(
  "InvalidRequest",
  { status: 400, codes: ["invalid_request"], title: "Invalid request", detail: "The request is not valid." },
  issues
) {}

export class MissingToken extends Problem("MissingToken", {
  status: 401,
  codes: ["missing_token"],
  title: "Unauthorized",
  detail: "Send a Bearer token in the Authorization header."
}) {}

/** `detail` names the invalid claim only if the signature is valid. Otherwise it gives no reason. */
export class InvalidToken extends Problem("InvalidToken", {
  status: 401,
  codes: ["invalid_token"],
  title: "Unauthorized",
  detail: "The token is not valid."
}) {}

/** The URL's user is not the token's. */
export class UserMismatch extends Problem("UserMismatch", {
  status: 403,
  codes: ["user_mismatch"],
  title: "Forbidden",
  detail: "Permission denied"
}) {}

/** The request comes from a page of another origin. */
export class OriginForbidden extends Problem("OriginForbidden", {
  status: 403,
  codes: ["origin_forbidden"],
  title: "Forbidden",
  detail: "Pages of this origin may not call this address."
}) {}

export class NotFound extends Problem("NotFound", {
  status: 404,
  codes: ["not_found"],
  title: "Not found",
  detail: "There is nothing at this address."
}) {}

export class MethodNotAllowed extends Problem("MethodNotAllowed", {
  status: 405,
  codes: ["method_not_allowed"],
  title: "Method not allowed",
  detail: "This address does not take that method; see Allow."
}) {}

/** No media type of the answer matches `Accept`. */
export class NotAcceptable extends Problem("NotAcceptable", {
  status: 406,
  codes: ["not_acceptable"],
  title: "Not acceptable",
  detail: "The answer has none of the media types that Accept names."
}) {}

/** The request did not arrive completely in time. The connection is closed. */
export class RequestTimeout extends Problem("RequestTimeout", {
  status: 408,
  codes: ["request_timeout"],
  title: "Request timeout",
  detail: "The request did not arrive in time."
}) {}

/** The connection is closed. */
export class HeadersTooLarge extends Problem("HeadersTooLarge", {
  status: 431,
  codes: ["headers_too_large"],
  title: "Headers too large",
  detail: "The request's target and headers have more than 16 KiB."
}) {}

export class PayloadTooLarge extends Problem("PayloadTooLarge", {
  status: 413,
  codes: ["payload_too_large"],
  title: "Payload too large",
  detail: "The body is larger than 256 KiB."
}) {}

export class UnsupportedMediaType extends Problem("UnsupportedMediaType", {
  status: 415,
  codes: ["unsupported_media_type"],
  title: "Unsupported media type",
  detail: "Send the body as application/json."
}) {}

export class RateLimited extends Problem("RateLimited", {
  status: 429,
  codes: ["rate_limited"],
  title: "Too many requests",
  detail: "Too many requests. Wait as long as Retry-After says."
}) {}

/** A defect of ours; the log has it under the request's id. */
export class InternalError extends Problem("InternalError", {
  status: 500,
  codes: ["internal_error"],
  title: "Internal error",
  detail: "Something went wrong on our side. The request_id helps us to find it."
}) {}

/** The database or another required part is away, or this node is draining or full. */
export class Unavailable extends Problem(
  "Unavailable",
  {
    status: 503,
    codes: ["unavailable"],
    title: "Service unavailable",
    detail: "The service is not available at the moment. Please try again shortly."
  },
  // Where a turn had begun.
  Schema.Struct({
    turnId: Schema.optional(TurnId).pipe(Schema.fromKey("turn_id")),
    toolCalls: Schema.optional(ToolCalls).pipe(Schema.fromKey("tool_calls"))
  })
) {}
