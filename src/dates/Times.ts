import type { Part } from "./Parts.ts"
import type { DayPart } from "./Vocabulary.ts"

export type Time = Extract<Part, { readonly is: "time" }>

/** The time and the part of the day that the parts name. Null if they name more than one. */
export const timeOf = (
  parts: ReadonlyArray<Part>
): { readonly time: Time | undefined; readonly part: DayPart | undefined } | null => {
  const [time, ...others] = parts.flatMap((part) => (part.is === "time" ? [part] : []))
  const [part, ...more] = new Set(parts.flatMap((one) => (one.is === "part of day" ? [one.part] : [])))
  const endOfDay = parts.some(({ is }) => is === "end of day")
  return others.length > 0 || more.length > 0 || (endOfDay && (time ?? part) !== undefined) ? null : { time, part }
}

const standsFor: Record<DayPart, number> = { morning: 9, afternoon: 15, evening: 18, night: 20 }
const begins: Record<DayPart, number> = { morning: 0, afternoon: 12, evening: 16, night: 17 }
/** The hour at which each part ends. 24 and more are hours of the next day. */
export const ends: Record<DayPart, number> = { morning: 12, afternoon: 18, evening: 24, night: 29 }

/** The hours that a time may mean: am and pm if neither is given. 24 and more are hours of the next day. */
export const hoursOf = (time: Time | undefined, part: DayPart | undefined): ReadonlyArray<number> => {
  if (time === undefined) return part === undefined ? [] : [standsFor[part]]
  const { hour, open } = time
  const shown = open && hour < 12 ? [hour, hour + 12] : open && part !== undefined && hour === 12 ? [12, 24] : [hour]
  if (part === undefined) return shown
  const all = shown.flatMap((one) => (one < 5 ? [one, one + 24] : [one]))
  return all.filter((one) => one >= begins[part] && (one < ends[part] || (one === 24 && part === "evening")))
}

/** The likely ones of these hours: 1 to 6 are in the afternoon. */
export const usualHours = (hours: ReadonlyArray<number>) => hours.filter((hour) => hours.length === 1 || hour > 6)

export const usualHour = (hours: ReadonlyArray<number>) => usualHours(hours)[0]
