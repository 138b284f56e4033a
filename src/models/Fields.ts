import { DateTime, Option } from "effect"

/** An unchecked JSON object. `K` are the members that are read. */
export type Fields<K extends string> = { readonly [P in K]?: unknown }

export const isFields = <K extends string>(u: unknown): u is Fields<K> =>
  typeof u === "object" && u !== null && !Array.isArray(u)

/** An unchecked time in Unix seconds, as RFC 3339. */
export const timeOf = (u: unknown): string | undefined =>
  typeof u === "number" ? Option.getOrUndefined(Option.map(DateTime.make(u * 1000), DateTime.formatIso)) : undefined

/** An unchecked number, if it is a count. */
export const count = (u: unknown): number | undefined =>
  typeof u === "number" && Number.isSafeInteger(u) && u >= 0 ? u : undefined
