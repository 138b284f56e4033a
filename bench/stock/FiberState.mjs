import { Effect } from "effect"

export const forget = Effect.void
