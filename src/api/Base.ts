import { HttpApi } from "@effect/platform"
import { Schema } from "effect"

/**
 * An API whose only failures are those that are added to it. The library's own would answer a request of the wrong form
 * before `http/Problems.ts` sees it, with a body that is no problem document.
 */
export const make = <const Id extends string>(identifier: Id) =>
  Object.assign(HttpApi.make(identifier), { errorSchema: Schema.Never })
