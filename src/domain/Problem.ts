import { HttpApiSchema } from "@effect/platform"
import { type Cause, Context, Data, Effect, ParseResult, Predicate, Schema } from "effect"

/** The id of the current request, as in its `X-Request-Id`, its log lines and its problem document. */
export class RequestId extends Context.Reference<RequestId>()("taskchat/domain/RequestId", {
  defaultValue: () => "none"
}) {}

/** The media type of every error body (RFC 9457). */
export const contentType = "application/problem+json"

/** The constant part of one kind of problem. */
export interface About {
  readonly status: number
  /** For programs; stable. Several if one class stands for a family; the first is the default. */
  readonly codes: readonly [string, ...ReadonlyArray<string>]
  readonly title: string
  /** The sentence for people, unless an occurrence has its own. */
  readonly detail: string
}

/** The optional fields of any occurrence. */
interface Occurrence {
  readonly code?: string
  readonly detail?: string
  /** Seconds; sent as the header `Retry-After`. */
  readonly retryAfter?: number
  /** More headers of the answer. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Any problem, as `http/Problems.ts` writes it. */
export interface AnyProblem extends Occurrence {
  readonly _tag: string
  readonly about: About
  /** The members beyond RFC 9457's, in wire form. */
  readonly encodedMembers: Readonly<Record<string, unknown>>
}

/** The constructor of one kind of problem. */
export interface ProblemClass<Tag extends string, Members extends object, Encoded extends object> {
  new (
    fields: {} extends Members ? (Occurrence & Members) | void : Occurrence & Members
  ): Cause.YieldableError & { readonly _tag: Tag } & AnyProblem & Readonly<Members>
  readonly about: About
  readonly members: Schema.Schema<Members, Encoded>
}

const TypeId = "taskchat/Problem"

const none = Schema.Struct({})

export const isProblem = (u: unknown): u is AnyProblem => Predicate.hasProperty(u, TypeId)

/** `type` of a problem document: a relative reference, so that it is valid under any mount path. */
export const typeOf = (code: string) => `/problems/${code}`

/**
 * The base class of one kind of problem: a yieldable error whose wire form is an RFC 9457 document.
 * `members` describes those beyond the standard's.
 */
export const Problem: {
  <const Tag extends string>(tag: Tag, about: About): ProblemClass<Tag, {}, {}>
  <const Tag extends string, Members extends object, Encoded extends object>(
    tag: Tag,
    about: About,
    members: Schema.Schema<Members, Encoded>
  ): ProblemClass<Tag, Members, Encoded>
} = (tag: string, about: About, members: Schema.Schema.AnyNoContext = none) => {
  // A struct without members would encode every field of the error.
  const encode = members === none ? () => ({}) : Schema.encodeUnknownSync(members)
  return class extends Data.TaggedError(tag)<Occurrence> {
    static readonly about = about
    static readonly members = members
    readonly [TypeId] = TypeId
    get about() {
      return about
    }
    get encodedMembers() {
      return encode(this)
    }
    override get message() {
      return this.detail ?? about.detail
    }
    // `Data.TaggedError` sets the members on the instance, which a class with generic fields cannot declare.
    // biome-ignore lint/suspicious/noExplicitAny: the interface above is what callers see
  } as any
}

/** The members that every problem document has. */
const commonOf = ({ about, code = about.codes[0], detail = about.detail }: AnyProblem, requestId: string) => ({
  type: typeOf(code),
  title: about.title,
  status: about.status,
  detail,
  code,
  request_id: requestId
})

/** The document of a problem in the answer to one request. */
export const documentOf = (problem: AnyProblem, requestId: string) => ({
  ...commonOf(problem, requestId),
  ...problem.encodedMembers
})

const common = Schema.Struct({
  type: Schema.String.annotations({
    jsonSchema: {
      type: "string",
      format: "uri-reference",
      description: "The kind of problem, as a relative reference"
    }
  }),
  detail: Schema.String.annotations({ description: "A sentence for people" }),
  request_id: Schema.String.annotations({ description: "The `X-Request-Id` of the answer" }),
  instance: Schema.optional(
    Schema.String.annotations({
      jsonSchema: {
        type: "string",
        format: "uri-reference",
        description: "What the problem is about, where that helps"
      }
    })
  )
})

/**
 * The wire form of a kind of problem. OpenAPI documents it, derived clients decode it, and an app's endpoints on
 * `HttpApiBuilder` encode it. The service's endpoints use `http/Problems.ts` instead, which also sets the headers.
 */
export const wire = <Self extends AnyProblem, Members, Encoded>(kind: {
  new (fields: never): Self
  readonly name: string
  readonly about: About
  readonly members: Schema.Schema<Members, Encoded>
}) => {
  const { codes, detail, status, title } = kind.about
  const document = common.pipe(
    Schema.extend(
      Schema.Struct({
        title: Schema.Literal(title),
        status: Schema.Literal(status),
        code: Schema.Literal(...codes).annotations({ description: "For programs; stable" })
      })
    ),
    Schema.extend(kind.members),
    Schema.annotations({ identifier: `${kind.name}Problem`, title, description: detail })
  )
  return Schema.transformOrFail(
    document,
    Schema.declare((u: unknown): u is Self => u instanceof kind),
    {
      strict: true,
      // `Self` is what `kind` constructs; its declared parameter is erased above to accept every kind.
      decode: (fields) => ParseResult.succeed(new kind(fields as never)),
      // Safe: a problem has the members that its class declares.
      encode: (self) => Effect.map(RequestId, (id) => ({ ...self, ...commonOf(self, id) }) as never)
    }
  )
    .annotations(HttpApiSchema.annotations({ status }))
    .pipe(HttpApiSchema.withEncoding({ kind: "Json", contentType }))
}
