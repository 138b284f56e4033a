import { DateTime, Option } from "effect"

/** A JSON object from elsewhere, of which the members `K` are read and none is trusted. */
export type Fields<K extends string> = { readonly [P in K]?: unknown }

export const isFields = <K extends string>(u: unknown): u is Fields<K> =>
  typeof u === "object" && u !== null && !Array.isArray(u)

/** A time from elsewhere, in Unix seconds, as RFC 3339. */
export const timeOf = (u: unknown): string | undefined =>
  typeof u === "number" ? Option.getOrUndefined(Option.map(DateTime.make(u * 1000), DateTime.formatIso)) : undefined

/** A count from elsewhere, if it is one. */
export const count = (u: unknown): number | undefined =>
  typeof u === "number" && Number.isSafeInteger(u) && u >= 0 ? u : undefined
