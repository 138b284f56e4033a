/**
 * JSON in SQL, as text. It is put together piece by piece: `json_build_object` looks up the type of every value of every
 * row, and takes twice as long.
 */

/** What is in JSON as it is in SQL: a number, a boolean, JSON itself. */
export const plain = (value: string) => `(${value})::text`

/** A text in which nothing is to be escaped: a word of ours, a UUID. */
export const word = (value: string) => `'"' || ${value} || '"'`

/** Any other value: a text, a list, a date. */
export const any = (value: string) => `to_json(${value})::text`

/** A `timestamptz` as clients read it. */
export const time = (value: string) => `to_char(${value} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

/** Null members are in it, too. */
export const object = (members: Readonly<Record<string, string>>) =>
  `'{' || ${Object.entries(members)
    .map(([name, value]) => `'"${name}":' || coalesce(${value}, 'null')`)
    .join(" || ',' || ")} || '}'`
