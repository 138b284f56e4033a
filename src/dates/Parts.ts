import type { Period } from "./Calendar.ts"
import type { DayPart, Unit } from "./Vocabulary.ts"

export interface Amount {
  readonly n: number
  readonly unit: Unit
}

/** A named week, month or year. `ahead` is the number of periods after the present one. */
export type Range =
  | { readonly of: Period | "weekend"; readonly ahead: number }
  | { readonly of: "named month"; readonly month: number; readonly year: number | null }

/** One part of a phrase. The order of the parts does not matter. */
export type Part =
  // Days
  | { readonly is: "date"; readonly date: string }
  | { readonly is: "near"; readonly days: number }
  | { readonly is: "weekday"; readonly weekday: number; readonly which: "this" | "next" | "last" | "week after" | null }
  | { readonly is: "month day"; readonly month: number; readonly day: number; readonly year: number | null }
  | { readonly is: "day of month"; readonly day: number }
  | { readonly is: "nth weekday"; readonly n: number; readonly weekday: number; readonly range: Range }
  | { readonly is: "edge"; readonly last: boolean; readonly range: Range }
  | { readonly is: "week"; readonly year: number; readonly week: number; readonly day: number | null }
  | { readonly is: "range"; readonly range: Range }
  /** Counted from the days in `base`, or from today if `base` is empty. */
  | {
      readonly is: "shift"
      readonly amounts: ReadonlyArray<Amount>
      readonly sign: 1 | -1
      readonly base: ReadonlyArray<Part>
    }
  // Times
  | {
      readonly is: "time"
      /** 24 is midnight at the end of the day. */
      readonly hour: number
      readonly minute: number
      readonly second: number
      readonly meridiem: "am" | "pm" | null
      /** True if the hour may be am or pm. */
      readonly open: boolean
      readonly offset: number | null
    }
  | { readonly is: "part of day"; readonly part: DayPart; readonly today: boolean }
  | { readonly is: "end of day" }

const timeParts = new Set<Part["is"]>(["time", "part of day", "end of day"])
export const isDayPart = (part: Part) => !timeParts.has(part.is)
