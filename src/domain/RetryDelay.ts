import { Predicate } from "effect"
import { errorsIn, messageOf } from "./ModelFailure.ts"

/** Header names in lower case. */
export type Headers = Readonly<Record<string, string>>

/** The longest delay in seconds, so that the database can store it as an `int`. */
const maxDelay = 2_147_483_647

/**
 * The seconds that a provider asks us to wait, at most `maxDelay`, in any documented form: `Retry-After` (seconds or a date),
 * `retry-after-ms`, the reset time of an exhausted limit, a member of the error, or its message. Dates are compared
 * with the sender's clock.
 */
export const retryDelay = (headers: Headers, body: unknown): number | undefined => {
  const found = fromHeaders(headers) ?? fromMembers(body) ?? fromMessage(messageOf(body))
  return found === undefined || !Number.isFinite(found) ? undefined : Math.min(Math.max(0, found), maxDelay)
}

const fromHeaders = (headers: Headers): number | undefined => {
  const ms = decimal(headers["retry-after-ms"])
  if (ms !== undefined) return ms / 1000
  const after = headers["retry-after"]
  return decimal(after) ?? until(after, headers) ?? duration(after) ?? fromLimits(headers)
}

/** Of the exhausted limits, the one with the latest reset. */
const fromLimits = (headers: Headers): number | undefined => {
  const waits: Array<number> = []
  for (const [name, value] of Object.entries(headers)) {
    const match = /^((?:x-)?(?:anthropic-)?ratelimit-)(.*)$/.exec(name)
    if (match === null || !name.includes("remaining") || decimal(value) !== 0) continue
    const reset = headers[name.replace("remaining", "reset")]
    const wait = decimal(reset) ?? duration(reset) ?? until(reset, headers)
    // Ignores reset times in Unix seconds or milliseconds, because the clocks may differ.
    if (wait !== undefined && wait < 1e6) waits.push(wait)
  }
  return waits.length === 0 ? undefined : Math.max(...waits)
}

const fromMembers = (body: unknown): number | undefined => {
  for (const error of errorsIn(body)) {
    for (const name of ["retry_after", "retryAfter", "retry_after_seconds", "retryDelay"]) {
      const value = error[name]
      const seconds =
        typeof value === "number" ? value : Predicate.isString(value) ? (decimal(value) ?? duration(value)) : undefined
      if (seconds !== undefined) return seconds
    }
    const ms = error["retry_after_ms"]
    if (typeof ms === "number") return ms / 1000
  }
  return undefined
}

const fromMessage = (message: string): number | undefined => {
  const [, text] = /(?:try again|retry|wait)[^.\n\d]{0,40}?((?:\d+(?:\.\d+)?\s*[a-z]+\s*)+)/.exec(message) ?? []
  return duration(text?.replace(/(\d)\s+/g, "$1"))
}

const decimal = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,15}(\.\d{1,9})?$/.test(text.trim()) ? Number(text) : undefined

const until = (text: string | undefined, { date }: Headers): number | undefined => {
  const wait = Date.parse(text ?? "") - Date.parse(date ?? "")
  return Number.isNaN(wait) ? undefined : wait / 1000
}

const units: ReadonlyMap<string, number> = new Map([
  ["ms", 0.001],
  ["milliseconds", 0.001],
  ["s", 1],
  ["sec", 1],
  ["second", 1],
  ["seconds", 1],
  ["m", 60],
  ["min", 60],
  ["minute", 60],
  ["minutes", 60],
  ["h", 3600],
  ["hour", 3600],
  ["hours", 3600]
])

/** Such as `20ms`, `34s`, `2m59.56s` or `1 minute`. */
const duration = (text: string | undefined): number | undefined => {
  if (text === undefined) return undefined
  let seconds: number | undefined
  for (const [, amount, unit] of text.trim().matchAll(/(\d+(?:\.\d+)?)\s*([a-z]+)/g)) {
    const factor = units.get(unit ?? "")
    if (factor === undefined) return seconds
    seconds = (seconds ?? 0) + Number(amount) * factor
  }
  return seconds
}
