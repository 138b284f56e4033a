/** A token of a date phrase, with its position in the text. */
export type Token = { readonly start: number; readonly end: number } & (
  | { readonly kind: "word"; readonly text: string }
  /** `glued`: letters follow without a space, as in "5pm". `padded`: it begins with a zero, as in "05". */
  | {
      readonly kind: "number"
      readonly value: number
      readonly digits: number
      readonly padded: boolean
      readonly glued: boolean
    }
  | {
      readonly kind: "clock"
      readonly hour: number
      readonly minute: number
      readonly second: number
      readonly padded: boolean
      /** The same text as a decimal number if it is written with a dot, else null. */
      readonly fraction: number | null
    }
  | { readonly kind: "date"; readonly date: string }
  /** "24/12" or "24/12/2026". The grammar finds out which number is the month. */
  | { readonly kind: "slashed"; readonly first: number; readonly second: number; readonly year: number | null }
  | { readonly kind: "week"; readonly year: number; readonly week: number; readonly day: number | null }
  /** Minutes ahead of UTC. */
  | { readonly kind: "offset"; readonly minutes: number }
  | { readonly kind: "other" }
)
export type Kind = Token["kind"]

/** Each alternative has a bounded length or repeats one class of characters, so matching takes linear time. */
const patterns = [
  String.raw`(?<week>\d{4}-?w\d\d(?:-?[1-7])?(?![\w-]))`,
  String.raw`(?<date>\d{4}(?<separator>[-/.])\d{1,2}\k<separator>\d{1,2}(?![\w/-])|\d{1,2}\.\d{1,2}\.\d{4}(?!\w))`,
  String.raw`(?<slashed>\d{1,2}/\d{1,2}(?:/\d{4})?(?![\w/-]))`,
  String.raw`(?<clock>\d{1,2}(?::\d\d(?::\d\d)?(?![\d:])|h\d\d(?!\w)|\.\d\d?(?![\d.])))`,
  String.raw`(?<offset>[+-]\d\d:?\d\d(?!\d)|[+-]\d{1,2}(?![\d:]))`,
  String.raw`(?<number>\d{1,9})`,
  String.raw`(?<meridiem>[ap]\.m\.?)`,
  String.raw`(?<word>\p{L}[\p{L}\p{M}]*(?:['-][\p{L}\p{M}]+)*'?)`,
  "(?<at>@)",
  String.raw`(?<space>[\s,]+)`,
  "(?<other>[^])"
]
const pattern = new RegExp(patterns.join("|"), "giu")

export const tokensOf = (text: string): ReadonlyArray<Token> => {
  const tokens: Array<Token> = []
  for (const match of text.matchAll(pattern)) {
    const groups = match.groups ?? {}
    const start = match.index
    const end = start + match[0].length
    if (groups["space"] === undefined) tokens.push({ start, end, ...tokenOf(groups, text.slice(end, end + 1)) })
  }
  return tokens
}

/** A token without its position. */
type Bare = Token extends infer One ? (One extends Token ? Omit<One, "start" | "end"> : never) : never

const tokenOf = (found: Readonly<Record<string, string | undefined>>, following: string): Bare => {
  if (found["at"] !== undefined) return { kind: "word", text: "at" }
  const { clock, date, meridiem, number, offset, slashed, week, word } = found
  if (word !== undefined) return { kind: "word", text: word.toLowerCase().replace(/'s?$/, "") }
  if (meridiem !== undefined) return { kind: "word", text: meridiem.slice(0, 1).toLowerCase() === "a" ? "am" : "pm" }
  if (number !== undefined) {
    const padded = number.startsWith("0") && number.length > 1
    return { kind: "number", value: Number(number), digits: number.length, padded, glued: /\p{L}/u.test(following) }
  }
  if (clock !== undefined) {
    const [hour = 0, minute = 0, second = 0] = clock.split(/[:.h]/i).map(Number)
    const dotted = clock.includes(".")
    if (dotted && !/\.\d\d$/.test(clock))
      return { kind: "clock", hour: -1, minute, second, padded: false, fraction: Number(clock) }
    return { kind: "clock", hour, minute, second, padded: /^0\d/.test(clock), fraction: dotted ? Number(clock) : null }
  }
  if (date !== undefined) {
    const [a = "", b = "", c = ""] = date.split(/[-/.]/)
    const [year, day] = a.length === 4 ? [a, c] : [c, a]
    return { kind: "date", date: `${year}-${b.padStart(2, "0")}-${day.padStart(2, "0")}` }
  }
  if (slashed !== undefined) {
    const [first = 0, second = 0, year = null] = slashed.split("/").map(Number)
    return { kind: "slashed", first, second, year }
  }
  if (week !== undefined) {
    const [year = 0, number = 0, day = 0] = (/^(\d{4})-?w(\d\d)-?(\d?)/i.exec(week) ?? []).slice(1).map(Number)
    return { kind: "week", year, week: number, day: day === 0 ? null : day }
  }
  if (offset !== undefined) {
    const digits = offset.slice(1).replace(":", "")
    const [hours, minutes] = digits.length > 2 ? [digits.slice(0, 2), digits.slice(2)] : [digits, "0"]
    const size = Number(hours) * 60 + Number(minutes)
    return { kind: "offset", minutes: offset.startsWith("-") ? -size : size }
  }
  return { kind: "other" }
}

/** Reads tokens in order. */
export class Cursor {
  at = 0
  readonly tokens: ReadonlyArray<Token>
  constructor(tokens: ReadonlyArray<Token>) {
    this.tokens = tokens
  }

  get done() {
    return this.at >= this.tokens.length
  }

  peek(ahead = 0) {
    return this.tokens[this.at + ahead]
  }

  /** Takes the next token if it is of this kind. */
  take<K extends Kind>(kind: K): Extract<Token, { readonly kind: K }> | undefined {
    const token = this.peek()
    if (token === undefined || !isOf(token, kind)) return undefined
    this.at++
    return token
  }

  /** The next token's text if it is a word. */
  get word() {
    const token = this.peek()
    return token?.kind === "word" ? token.text : undefined
  }

  /** Takes these words, one after another, or nothing. */
  words(...wanted: ReadonlyArray<string>): boolean {
    const all = wanted.every((text, i) => {
      const token = this.peek(i)
      return token?.kind === "word" && token.text === text
    })
    if (all) this.at += wanted.length
    return all
  }

  /** Takes the next word if it is one of these. */
  oneOf(...wanted: ReadonlyArray<string>): string | undefined {
    const { word } = this
    if (word === undefined || !wanted.includes(word)) return undefined
    this.at++
    return word
  }

  /** Takes the next word if the table has it. */
  entry<A>(table: ReadonlyMap<string, A>): A | undefined {
    const found = this.word === undefined ? undefined : table.get(this.word)
    if (found !== undefined) this.at++
    return found
  }

  /** Restores the position if `read` finds nothing. */
  attempt<A>(read: () => A | undefined): A | undefined {
    const start = this.at
    const found = read()
    if (found === undefined) this.at = start
    return found
  }
}

const isOf = <K extends Kind>(token: Token, kind: K): token is Extract<Token, { readonly kind: K }> =>
  token.kind === kind
