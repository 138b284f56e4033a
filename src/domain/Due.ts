import { DateTime, Option } from "effect"
import { zoneOf } from "./Request.ts"

const inZone = (instant: DateTime.DateTime, timeZone: string) => DateTime.setZone(instant, zoneOf(timeZone))

/** The day, `YYYY-MM-DD`, on which an instant falls in a zone. */
export const dayIn = (instant: DateTime.DateTime, timeZone: string): string =>
  DateTime.formatIsoDate(inZone(instant, timeZone))

/** The local time in a zone at an instant: `HH:MM:SS.sss`. */
export const timeIn = (instant: DateTime.DateTime, timeZone: string): string =>
  DateTime.formatIsoOffset(inZone(instant, timeZone)).slice(11, 23)

/**
 * The instant of a local time on a day in a zone, if it is within the years 1 to 9999. If a daylight-saving change
 * skips the time, it moves forward by the same amount. If the time occurs twice, the earlier one is used.
 */
export const instantOf = (day: string, time: string, timeZone: string): DateTime.Utc | null =>
  DateTime.makeZoned(`${day}T${time}Z`, {
    timeZone: zoneOf(timeZone),
    adjustForTimeZone: true
  }).pipe(
    Option.map(DateTime.toUtc),
    Option.filter((instant) => /^(?!0000)\d{4}-/.test(DateTime.formatIso(instant))),
    Option.getOrNull
  )
