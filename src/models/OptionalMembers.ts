import { Predicate } from "effect"
import { errorsIn, wordsOf } from "../domain/ModelFailure.ts"

/** How an error says that it is about a member of the request, apart from naming it. */
const complaint =
  /unsupported|not support|n[o']t (?:allowed|permitted|available|recogni[sz]ed|known)|unknown|unrecogni[sz]ed|unexpected|extra|invalid|deprecated|only|cannot|can't|remove/

/** How an error says that it misses a member. */
const demand = /missing|required|must be (?:passed|provided|included|present|set)/

/**
 * Those of `members` that an error refuses by name: as its `param` or `loc`, or in its words. A name that is also a word
 * counts only where the error quotes it, as a prompt may have it too.
 */
export const refusedIn = (body: unknown, members: ReadonlyArray<string>): ReadonlyArray<string> => {
  const errors = errorsIn(body)
  const named = new Set(
    errors.flatMap(({ loc, param }) => [...paths(param), ...(Array.isArray(loc) ? loc.flatMap(paths) : [])])
  )
  const words = wordsOf(body)
  const isComplaint = complaint.test(words) && !demand.test(words)
  return members.filter((member) => named.has(member) || (isComplaint && isNamed(words, member)))
}

/** The names in a path such as `tools[0].function.strict`. */
const paths = (u: unknown): ReadonlyArray<string> => (Predicate.isString(u) ? u.split(/[^A-Za-z0-9_]+/) : [])

const isNamed = (words: string, member: string): boolean => {
  const name = member.toLowerCase()
  const quoted = new RegExp(
    `["'\`“‘(]${name}["'\`”’):.=]|${name} ?[:=]|(?:parameter|member|field|argument|property)s?:? ${name}\\b`
  )
  return quoted.test(words) || (name.includes("_") && new RegExp(`(?<![\\w])${name}(?![\\w])`).test(words))
}
