import { Options } from "@effect/cli"
import { Array as Arr, DateTime, Effect, Option } from "effect"
import type { UserId } from "../domain/Id.ts"
import { usageRange } from "../domain/UsageDay.ts"
import { TokenUsage } from "../services/access/TokenUsage.ts"
import * as Help from "./Help.ts"

/** The options of `taskchat usage`. */
export const options = {
  user: Help.userNumber.pipe(
    Options.withDescription("Usage of one user per day. Without it, the usage of every user"),
    Options.optional
  )
}

/** The usage of the last 30 days, as lines of a table. */
export const of = ({ user }: { readonly user: Option.Option<UserId> }) =>
  Effect.gen(function* () {
    const usage = yield* TokenUsage
    const range = yield* usageRange({}, yield* DateTime.now)
    if (Option.isNone(user)) {
      return table(
        ["user", "turns", "input", "output", "estimated"],
        (yield* usage.totals(range)).map((total) => [
          ...[total.user, total.turns],
          ...[total.inputTokens, total.outputTokens, total.estimatedTokens]
        ])
      )
    }
    const { days } = yield* usage.report(user.value, range)
    return table(
      ["day", "turns", "input", "output", "estimated", "models"],
      days
        .map((day) => ({ ...day, ended: Arr.reduce(Object.values(day.turns), 0, (sum, n) => sum + n) }))
        .filter(({ ended }) => ended > 0)
        .map((day) => [
          ...[day.date, day.ended, day.inputTokens, day.outputTokens, day.estimatedTokens],
          day.models.map(({ model }) => model).join(", ")
        ])
    )
  }).pipe(Effect.provide(TokenUsage.layer))

/** Aligns columns. Numbers are right-aligned. */
const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string | number>>) => {
  const widths = head.map((name, i) => rows.reduce((most, row) => Math.max(most, String(row[i]).length), name.length))
  return [head, ...rows].map((row) =>
    row
      .map((cell, i) => {
        const width = widths[i] ?? 0
        const isNumber = typeof rows[0]?.[i] === "number"
        return isNumber ? String(cell).padStart(width) : String(cell).padEnd(width)
      })
      .join("  ")
      .trimEnd()
  )
}
