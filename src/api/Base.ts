import { HttpApi } from "@effect/platform"
import { Schema } from "effect"

/**
 * An API that fails only with the errors added to it. The library's default error would answer an invalid request
 * before `http/Problems.ts`, with a body that is not a problem document.
 */
export const make = <const Id extends string>(identifier: Id) =>
  Object.assign(HttpApi.make(identifier), { errorSchema: Schema.Never })
