import { Predicate } from "effect"
import { errorsIn, messageOf } from "../domain/ModelFailure.ts"

/** Words in an error that refuses a member of the request. */
const complaint =
  /unsupported|not support|n[o']t (?:allowed|permitted|available|recogni[sz]ed|known)|unknown|unrecogni[sz]ed|unexpected|extra|invalid|deprecated|only|cannot|can't|remove/

/** Words in an error about a missing member. */
const demand = /missing|required|must be (?:passed|provided|included|present|set)/

/**
 * The `members` that an error refuses by name: in its `param`, its `loc` or its message. A name that is also an English
 * word counts only if the error quotes it, because the message may quote the prompt.
 */
export const refusedIn = (body: unknown, members: ReadonlyArray<string>): ReadonlyArray<string> => {
  const errors = errorsIn(body)
  const named = new Set(
    errors.flatMap(({ loc, param }) => [...paths(param), ...(Array.isArray(loc) ? loc.flatMap(paths) : [])])
  )
  const message = messageOf(body)
  const isComplaint = complaint.test(message) && !demand.test(message)
  return members.filter((member) => named.has(member) || (isComplaint && isNamed(message, member)))
}

/** The names in a path such as `tools[0].function.strict`. */
const paths = (u: unknown): ReadonlyArray<string> => (Predicate.isString(u) ? u.split(/[^A-Za-z0-9_]+/) : [])

const isNamed = (message: string, member: string): boolean => {
  const name = member.toLowerCase()
  const quoted = new RegExp(
    `["'\`“‘(]${name}["'\`”’):.=]|${name} ?[:=]|(?:parameter|member|field|argument|property)s?:? ${name}\\b`
  )
  return quoted.test(message) || (name.includes("_") && new RegExp(`(?<![\\w])${name}(?![\\w])`).test(message))
}
