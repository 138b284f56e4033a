import { Option, Schema, SchemaAST } from "effect"

const notAnId = () => "must be an integer from 1 to 9007199254740991"

/** Ids are PostgreSQL `bigint` identities, kept within what a JSON number carries exactly: 1 to 2^53 − 1. */
const bigintId = <const Brand extends string>(brand: Brand, description: string, example: number) =>
  Schema.Int.pipe(
    Schema.annotations({ message: notAnId }),
    Schema.between(1, Number.MAX_SAFE_INTEGER, { message: notAnId }),
    Schema.brand(brand),
    Schema.annotations({
      identifier: brand,
      description,
      jsonSchema: { type: "integer", minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description, examples: [example] }
    })
  )

/** Comes from the token; there is no table of users. */
export const UserId = bigintId("UserId", "The user, as the token names them", 1)
export type UserId = typeof UserId.Type

export const ConversationId = bigintId("ConversationId", "A conversation", 12)
export type ConversationId = typeof ConversationId.Type

export const MessageId = bigintId("MessageId", "A message", 34)
export type MessageId = typeof MessageId.Type

export const TaskId = bigintId("TaskId", "A task", 7)
export type TaskId = typeof TaskId.Type

/** UUIDv7: sorts by the time the turn began. */
export const TurnId = Schema.UUID.pipe(
  Schema.annotations({ message: () => "must be a turn's id, a UUID" }),
  Schema.brand("TurnId"),
  Schema.annotations({
    identifier: "TurnId",
    description: "A turn (UUIDv7)",
    jsonSchema: {
      type: "string",
      format: "uuid",
      description: "A turn (UUIDv7)",
      examples: ["0197b3c2-7d5e-7cc3-98c4-dc0c0c07398f"]
    }
  })
)
export type TurnId = typeof TurnId.Type

/** The JSON Schema of an id, the same in a path as in a body. */
const jsonSchemaOf = ({ ast }: Schema.Schema.Any) =>
  Option.getOrElse(SchemaAST.getJSONSchemaAnnotation(ast), () => ({}))

/**
 * An id in a path or query: decimal digits only. Other forms that `Number` accepts (`1e3`, `0x10`, ` 7`, `+7`) are refused.
 */
export const fromPath = <A extends number, R>(id: Schema.Schema<A, number, R>) =>
  Schema.String.pipe(
    Schema.pattern(/^[0-9]{1,16}$/, { message: notAnId }),
    Schema.annotations({ jsonSchema: jsonSchemaOf(id) }),
    Schema.transform(Schema.Number, { strict: true, decode: Number, encode: String }),
    Schema.compose(id)
  )

/** A turn's id in a path. A UUID may be written in capitals (RFC 9562), but our answers have it in one form only. */
export const TurnIdFromPath = Schema.String.pipe(
  Schema.annotations({ jsonSchema: jsonSchemaOf(TurnId) }),
  Schema.transform(TurnId, { strict: true, decode: (id) => id.toLowerCase(), encode: (id) => id })
)
