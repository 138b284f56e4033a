/**
 * JSON in SQL, concatenated as text. `json_build_object` takes twice as long, because it looks up the type of every
 * value of every row.
 */

/** A value with the same text in SQL and JSON: a number, a boolean or JSON. */
export const plain = (value: string) => `(${value})::text`

/** A text that needs no escaping: a constant or a UUID. */
export const word = (value: string) => `'"' || ${value} || '"'`

/** Any other value: a text, a list, a date. */
export const any = (value: string) => `to_json(${value})::text`

/** A `timestamptz` in the format of the API. */
export const time = (value: string) => `to_char(${value} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

/** Includes null members. */
export const object = (members: Readonly<Record<string, string>>) =>
  `'{' || ${Object.entries(members)
    .map(([name, value]) => `'"${name}":' || coalesce(${value}, 'null')`)
    .join(" || ',' || ")} || '}'`
