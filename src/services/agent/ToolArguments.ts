import { SchemaAST as AST, Either, Option, ParseResult, Predicate } from "effect"
import { parseJson } from "../../domain/JsonText.ts"

/** The arguments in their type, or a list of problems: each a clause that begins with the path. */
export interface Reading {
  readonly value: unknown
  readonly problems: ReadonlyArray<string>
}

/** The tool that has an argument, if the called one has not. */
type Elsewhere = (name: string) => string | undefined

/**
 * Reads the arguments of a tool call by the tool's parameter types. Clients often send numbers, booleans and lists as text,
 * and choices in capitals; these are accepted. An unknown argument is a problem, since nothing that a user asks for may be
 * ignored. So is a wrong type, with a message that names the right one.
 */
export const readArguments = (ast: AST.AST, given: unknown, elsewhere: Elsewhere = () => undefined): Reading =>
  read(ast, given, "", elsewhere)

const is = (value: unknown): Reading => ({ value, problems: [] })

const wrong = (path: string, message: string): Reading => ({
  value: undefined,
  problems: [`${path === "" ? "the arguments" : path} ${message}`]
})

const read = (ast: AST.AST, given: unknown, path: string, elsewhere: Elsewhere): Reading => {
  switch (ast._tag) {
    case "Transformation":
      return read(ast.from, given, path, elsewhere)
    case "Suspend":
      return read(ast.f(), given, path, elsewhere)
    case "Refinement": {
      const reading = read(ast.from, given, path, elsewhere)
      if (reading.problems.length > 0) return reading
      return Option.match(ast.filter(reading.value, {}, ast), {
        onNone: () => reading,
        onSome: (issue) =>
          wrong(
            path,
            AST.isNumberKeyword(ast.from) ? "must be a whole number" : ParseResult.TreeFormatter.formatIssueSync(issue)
          )
      })
    }
    case "Union":
      return readUnion(ast, given, path, elsewhere)
    case "Literal":
      return readChoice([ast], given, path)
    case "StringKeyword":
      return Predicate.isString(given) ? is(given) : wrong(path, "must be text")
    case "NumberKeyword": {
      if (Predicate.isNumber(given)) return is(given)
      const isNumber = Predicate.isString(given) && /^\s*[+-]?\d{1,16}(\.\d{1,16})?\s*$/.test(given)
      return isNumber ? is(Number(given)) : wrong(path, "must be a number")
    }
    case "BooleanKeyword": {
      const text = Predicate.isString(given) ? given.trim().toLowerCase() : given
      return text === true || text === "true"
        ? is(true)
        : text === false || text === "false"
          ? is(false)
          : wrong(path, "must be true or false")
    }
    case "TupleType":
      return isList(ast) ? readList(ast, given, path, elsewhere) : is(given)
    case "TypeLiteral":
      return ast.indexSignatures.length === 0 ? readObject(ast, given, path, elsewhere) : is(given)
    default:
      return is(given)
  }
}

const isNull = (ast: AST.AST) => AST.isLiteral(ast) && ast.literal === null

const readUnion = (ast: AST.Union, given: unknown, path: string, elsewhere: Elsewhere): Reading => {
  const members = ast.types.filter((member) => !isNull(member) && !AST.isUndefinedKeyword(member))
  if (given === undefined || given === null) {
    return members.length < ast.types.length ? is(given) : wrong(path, "is missing")
  }
  if (members.every(AST.isLiteral)) return readChoice(members, given, path, ast.types.some(isNull))
  const [only, ...others] = members
  if (only === undefined || others.length > 0) return is(given)
  const isText = AST.isStringKeyword(AST.encodedAST(only))
  return !isText && ast.types.some(isNull) && saysNothing(given) ? is(null) : read(only, given, path, elsewhere)
}

/** Text that means null. */
const saysNothing = (given: unknown) => Predicate.isString(given) && /^\s*(null|none)?\s*$/i.test(given)

const readChoice = (choices: ReadonlyArray<AST.Literal>, given: unknown, path: string, nullable = false): Reading => {
  const plain = (value: unknown) => String(value).trim().toLowerCase()
  const chosen = choices.find(({ literal }) => literal === given || plain(literal) === plain(given))
  if (chosen !== undefined) return is(chosen.literal)
  if (nullable && saysNothing(given)) return is(null)
  return wrong(path, `must be ${listed(choices.map(({ literal }) => String(literal)))}`)
}

const listed = (words: ReadonlyArray<string>) =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`

type List = AST.TupleType & { readonly rest: readonly [AST.Type] }

const isList = (ast: AST.TupleType): ast is List => ast.elements.length === 0 && ast.rest.length === 1

const readList = (ast: List, given: unknown, path: string, elsewhere: Elsewhere): Reading => {
  const item = ast.rest[0].type
  const items = itemsOf(given, AST.isTypeLiteral(AST.encodedAST(item)))
  if (items === undefined) {
    const about = Option.getOrElse(AST.getDescriptionAnnotation(ast), () => "")
    return wrong(path, `must be a list${about === "" ? "" : ` (${about})`}`)
  }
  const readings = items.map((one, n) => read(item, one, `${path}.${n}`, elsewhere))
  return { value: readings.map(({ value }) => value), problems: readings.flatMap(({ problems }) => problems) }
}

/** A list, its JSON, or a plain text: a single item, or several with commas. */
const itemsOf = (given: unknown, ofObjects: boolean): ReadonlyArray<unknown> | undefined => {
  if (Array.isArray(given)) return given
  if (Predicate.isString(given)) {
    const parsed = /^\s*[[{]/.test(given) ? Either.getOrUndefined(parseJson(given)) : undefined
    if (Array.isArray(parsed)) return parsed
    if (Predicate.isRecord(parsed) && ofObjects) return [parsed]
    const items = given.split(",").flatMap((item) => (item.trim() === "" ? [] : [item.trim()]))
    return ofObjects || /^\s*[[{]/.test(given) || items.length === 0 ? undefined : items
  }
  if (ofObjects) return Predicate.isRecord(given) ? [given] : undefined
  return Predicate.isNumber(given) ? [given] : undefined
}

const readObject = (ast: AST.TypeLiteral, given: unknown, path: string, elsewhere: Elsewhere): Reading => {
  const object = Predicate.isString(given) ? Either.getOrUndefined(parseJson(given)) : given
  if (!Predicate.isRecord(object)) return wrong(path, "must be an object")
  const names = ast.propertySignatures.map(({ name }) => String(name))
  const at = (name: string) => (path === "" ? name : `${path}.${name}`)
  const value: Record<string, unknown> = {}
  const problems: Array<string> = []
  for (const { isOptional, name, type } of ast.propertySignatures) {
    const key = String(name)
    if (!Object.hasOwn(object, key) || object[key] === undefined) {
      if (!isOptional) problems.push(`${at(key)} is missing`)
      continue
    }
    const reading = read(type, object[key], at(key), elsewhere)
    problems.push(...reading.problems)
    value[key] = reading.value
  }
  for (const [name, member] of Object.entries(object)) {
    // A null can be ignored.
    if (names.includes(name) || member === null || member === undefined) continue
    const right = rightName(name, names)
    const tool = right === undefined && path === "" ? elsewhere(name) : undefined
    const advice =
      right !== undefined ? `use ${right}` : tool !== undefined ? `use ${tool}` : `there are ${names.join(", ")}`
    problems.push(`${at(name.slice(0, 50))} is unknown: ${advice}`)
  }
  return { value, problems }
}

const simple = (name: string) => name.replace(/[^a-z]/gi, "").toLowerCase()

/** Other services' names for our arguments, which callers may use. */
const otherNames: Readonly<Record<string, string>> = {
  task_id: "id task number",
  task_ids: "ids tasks",
  title: "name text task summary subject",
  description: "notes note details body content comment",
  due: "duedate dueat deadline date when time duetime",
  due_before: "before until dueby to",
  due_after: "after since from",
  labels: "tags tag label category categories",
  label: "labels tag tags category",
  priority: "importance urgency",
  repeat: "recurrence rrule recurring repeats every frequency rule",
  completed: "done complete status iscompleted checked state",
  query: "q search text keyword keywords title name",
  sort: "order orderby sortby",
  limit: "count max pagesize perpage size",
  cursor: "page nextcursor offset",
  tasks: "items list",
  clear: "remove unset delete",
  occurrence: "duedate date day"
}

/** The known name that an unknown one means. */
const rightName = (name: string, names: ReadonlyArray<string>): string | undefined => {
  const wanted = simple(name)
  return (
    names.find((known) => simple(known) === wanted) ??
    names.find((known) => otherNames[known]?.split(" ").includes(wanted)) ??
    names.find((known) => wanted.length > 3 && distance(wanted, simple(known)) <= 2)
  )
}

/** The edit distance of two words. */
const distance = (a: string, b: string): number => {
  if (Math.abs(a.length - b.length) > 2) return 3
  let row = Array.from({ length: b.length + 1 }, (_, n) => n)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replaced))
    }
    row = next
  }
  return row[b.length] ?? 0
}
