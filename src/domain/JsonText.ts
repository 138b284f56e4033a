import { Either } from "effect"

/** The greatest depth. No valid request is deeper, and deeper JSON could overflow the stack. */
export const maxDepth = 64

/** The most members and items at all depths: about ten times as many as in any valid request. */
export const maxValues = 5000

/**
 * Parses untrusted JSON. Left is the reason of a refusal. Depth and number of values are counted before parsing; the
 * caller limits the length.
 */
export const parseJson = (text: string): Either.Either<unknown, string> => {
  const { deepest, values } = measure(text)
  if (deepest > maxDepth) return Either.left("is nested too deeply")
  if (values > maxValues) return Either.left(`has more than ${maxValues} values`)
  try {
    return Either.right<unknown>(JSON.parse(text))
  } catch {
    return Either.left("is not valid JSON")
  }
}

/** The depth of a JSON text and the number of its values, as far as it is valid. */
const measure = (text: string) => {
  let depth = 0
  let deepest = 0
  let values = 1
  let isString = false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === backslash) i++
    else if (c === quote) isString = !isString
    else if (isString) continue
    else if (c === comma) values++
    else if (c === openBracket || c === openBrace) {
      values++
      deepest = Math.max(deepest, ++depth)
    } else if (c === closeBracket || c === closeBrace) depth--
  }
  return { deepest, values }
}

const [quote, comma, openBracket, backslash, closeBracket, openBrace, closeBrace] = [
  0x22, 0x2c, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d
]
