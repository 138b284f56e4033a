/**
 * Counts the steps of regular expressions: reading a character, trying an alternative or backtracking. A pattern that
 * can split a run in many ways takes many steps per character, on any machine and at any load.
 *
 * An interpreter that backtracks as ECMAScript specifies runs each pattern a second time. Its matches are compared with
 * those of the engine, so the counts are realistic.
 */

type Node =
  | { readonly is: "set"; readonly has: (character: string) => boolean }
  | { readonly is: "sequence"; readonly nodes: ReadonlyArray<Node> }
  | { readonly is: "choice"; readonly nodes: ReadonlyArray<Node> }
  | { readonly is: "group"; readonly node: Node; readonly index: number }
  | { readonly is: "same"; readonly name: string }
  | { readonly is: "look"; readonly node: Node; readonly isBehind: boolean; readonly isNegative: boolean }
  | { readonly is: "place"; readonly at: (text: string, index: number) => boolean }
  | { readonly is: "repeat"; readonly node: Node; readonly min: number; readonly max: number; readonly isLazy: boolean }

const { exec } = RegExp.prototype

const matches = (pattern: RegExp, text: string) => exec.call(pattern, text) !== null

/** A set of characters. The engine decides once per character whether it is in the set. */
const set = (source: string, flags: string): Node => {
  const pattern = new RegExp(`^(?:${source})$`, flags)
  const known = new Map<string, boolean>()
  return {
    is: "set",
    has: (character) => {
      const found = known.get(character) ?? matches(pattern, character)
      known.set(character, found)
      return found
    }
  }
}

const isWord = (character: string | undefined) => character !== undefined && matches(/^\w$/, character)

const isBoundary = (text: string, index: number) => isWord(text[index - 1]) !== isWord(text[index])

interface Program {
  readonly root: Node
  /** The positions of groups, from 1. */
  readonly names: ReadonlyMap<string, number>
}

const compile = ({ flags, source }: RegExp): Program => {
  const atoms = flags.replace(/[gymd]/g, "")
  const isMultiline = flags.includes("m")
  const names = new Map<string, number>()
  let at = 0
  let groups = 0

  const choice = (): Node => {
    const nodes = [sequence()]
    while (source[at] === "|") {
      at++
      nodes.push(sequence())
    }
    const [only, ...others] = nodes
    return only !== undefined && others.length === 0 ? only : { is: "choice", nodes }
  }

  const sequence = (): Node => {
    const nodes: Array<Node> = []
    while (at < source.length && source[at] !== "|" && source[at] !== ")") nodes.push(quantified(atom()))
    return { is: "sequence", nodes }
  }

  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    const found = exec.call(new RegExp(pattern.source, "yu"), source.slice(at)) ?? undefined
    at += found?.[0].length ?? 0
    return found
  }

  const quantified = (node: Node): Node => {
    const found = take(/([*+?]|\{(\d+)(,?)(\d*)\})(\??)/)
    if (found === undefined) return node
    const [, sign, from = "0", comma, to = "", lazy] = found
    const [min, max] =
      sign === "*"
        ? [0, Infinity]
        : sign === "+"
          ? [1, Infinity]
          : sign === "?"
            ? [0, 1]
            : [Number(from), comma === "" ? Number(from) : to === "" ? Infinity : Number(to)]
    return { is: "repeat", node, min, max, isLazy: lazy === "?" }
  }

  const inParentheses = (): Node => {
    const node = choice()
    at++
    return node
  }

  const atom = (): Node => {
    const look = take(/\(\?(<?)([=!])/)
    if (look !== undefined) {
      return { is: "look", node: inParentheses(), isBehind: look[1] === "<", isNegative: look[2] === "!" }
    }
    if (take(/\(\?:/) !== undefined) return inParentheses()
    const group = take(/\((?:\?<(\w+)>)?/)
    if (group !== undefined) {
      const index = ++groups
      if (group[1] !== undefined) names.set(group[1], index)
      return { is: "group", node: inParentheses(), index }
    }
    if (take(/\^/) !== undefined)
      return { is: "place", at: (text, i) => i === 0 || (isMultiline && text[i - 1] === "\n") }
    if (take(/\$/) !== undefined)
      return { is: "place", at: (text, i) => i === text.length || (isMultiline && text[i] === "\n") }
    const boundary = take(/\\[bB]/)
    if (boundary !== undefined) {
      return { is: "place", at: (text, i) => isBoundary(text, i) === (boundary[0] === "\\b") }
    }
    const same = take(/\\(?:k<(\w+)>|([1-9]))/)
    if (same !== undefined) return { is: "same", name: same[1] ?? same[2] ?? "" }
    const one = take(
      /\[(?:\\[\s\S]|[^\]\\])*\]|\\[pP]\{[^}]*\}|\\u\{[^}]*\}|\\u[\da-fA-F]{4}|\\x[\da-fA-F]{2}|\\[\s\S]|[\s\S]/
    )
    if (one === undefined) throw new Error(`cannot read /${source}/ at ${at}`)
    return set(one[0], atoms)
  }

  return { root: choice(), names }
}

const programs = new Map<string, Program>()

const programOf = (pattern: RegExp) => {
  const key = String(pattern)
  const program = programs.get(key) ?? compile(pattern)
  programs.set(key, program)
  return program
}

class Count {
  steps = 0
  readonly most: number
  constructor(most: number) {
    this.most = most
  }
  step(pattern: RegExp) {
    if (++this.steps > this.most) throw new Error(`more than ${this.most} steps, the last by ${pattern}`)
  }
}

/** The end of a match that begins at `from`, if any. */
const matchAt = (pattern: RegExp, text: string, from: number, count: Count): number | undefined => {
  const { names, root } = programOf(pattern)
  const byPoints = /[uv]/.test(pattern.flags)
  const captures: Array<readonly [number, number] | undefined> = []

  const characterAt = (index: number, isBack: boolean): string => {
    if (!isBack) return byPoints ? String.fromCodePoint(text.codePointAt(index) ?? 0) : (text[index] ?? "")
    const pair = text.slice(Math.max(0, index - 2), index)
    return byPoints && pair.length === 2 && (pair.codePointAt(0) ?? 0) > 0xffff ? pair : text.slice(index - 1, index)
  }

  /** The index after a character in the set, or -1. */
  const pass = (node: Extract<Node, { is: "set" }>, index: number, isBack: boolean): number => {
    count.step(pattern)
    if (isBack ? index === 0 : index === text.length) return -1
    const character = characterAt(index, isBack)
    return node.has(character) ? index + (isBack ? -character.length : character.length) : -1
  }

  type Then = (index: number) => number | undefined

  const run = (node: Node, index: number, isBack: boolean, then: Then): number | undefined => {
    count.step(pattern)
    switch (node.is) {
      case "set": {
        const next = pass(node, index, isBack)
        return next < 0 ? undefined : then(next)
      }
      case "sequence": {
        const { nodes } = node
        const from = (n: number, index: number): number | undefined => {
          const next = nodes[isBack ? nodes.length - 1 - n : n]
          return next === undefined ? then(index) : run(next, index, isBack, (index) => from(n + 1, index))
        }
        return from(0, index)
      }
      case "choice":
        for (const one of node.nodes) {
          const end = run(one, index, isBack, then)
          if (end !== undefined) return end
        }
        return undefined
      case "group": {
        const before = captures[node.index]
        const end = run(node.node, index, isBack, (after) => {
          const inner = captures[node.index]
          captures[node.index] = isBack ? [after, index] : [index, after]
          const end = then(after)
          if (end === undefined) captures[node.index] = inner
          return end
        })
        if (end === undefined) captures[node.index] = before
        return end
      }
      case "same": {
        const [start, end] = captures[names.get(node.name) ?? Number(node.name)] ?? [0, 0]
        const same = text.slice(start, end)
        return text.startsWith(same, index) ? then(index + same.length) : undefined
      }
      case "look": {
        const found = run(node.node, index, node.isBehind, (index) => index)
        return (found !== undefined) === node.isNegative ? undefined : then(index)
      }
      case "place":
        return node.at(text, index) ? then(index) : undefined
      case "repeat":
        return node.node.is === "set"
          ? repeatSet(node, node.node, index, isBack, then)
          : repeat(node, index, isBack, then, 0)
    }
  }

  const repeat = (
    node: Extract<Node, { is: "repeat" }>,
    index: number,
    isBack: boolean,
    then: Then,
    done: number
  ): number | undefined => {
    const more = () =>
      done < node.max
        ? run(node.node, index, isBack, (after) =>
            after === index && done >= node.min ? undefined : repeat(node, after, isBack, then, done + 1)
          )
        : undefined
    if (done < node.min) return more()
    return node.isLazy ? (then(index) ?? more()) : (more() ?? then(index))
  }

  /** The same as `repeat`, without a call for each character. */
  const repeatSet = (
    { isLazy, max, min }: Extract<Node, { is: "repeat" }>,
    one: Extract<Node, { is: "set" }>,
    index: number,
    isBack: boolean,
    then: Then
  ): number | undefined => {
    const ends = [index]
    const further = () => {
      const next = ends.length > max ? -1 : pass(one, ends.at(-1) ?? index, isBack)
      if (next >= 0) ends.push(next)
      return next >= 0
    }
    if (isLazy) {
      while (ends.length <= min) if (!further()) return undefined
      for (;;) {
        const end = then(ends.at(-1) ?? index)
        if (end !== undefined || !further()) return end
      }
    }
    while (further());
    for (let n = ends.length - 1; n >= min; n--) {
      count.step(pattern)
      const end = then(ends[n] ?? index)
      if (end !== undefined) return end
    }
    return undefined
  }

  return run(root, from, false, (index) => index)
}

/** Runs a pattern like `exec`, and counts its steps. */
const counted = (pattern: RegExp, text: string, count: Count) => {
  const { global, lastIndex, sticky } = pattern
  const found = exec.call(pattern, text)
  const from = global || sticky ? lastIndex : 0
  const isWithin = (index: number) =>
    /[uv]/.test(pattern.flags) && index > from && (text.codePointAt(index - 1) ?? 0) > 0xffff
  for (let index = from; index <= text.length; index++) {
    if (isWithin(index)) continue
    const end = matchAt(pattern, text, index, count)
    if (end !== undefined) {
      if (found?.index !== index || found[0].length !== end - index) throw new Error(`${pattern} matches otherwise`)
      return found
    }
    if (sticky) break
  }
  if (found !== null) throw new Error(`${pattern} matches where it should not`)
  return found
}

/**
 * Counts the steps of all patterns until it is stopped. Stopping fails if there were more than `most`. Nothing fails
 * before that, because the counted code may run in a server.
 */
export const countSteps = (most = Infinity) => {
  const count = new Count(most)
  let failure: unknown
  let isCounting = true
  RegExp.prototype.exec = function (text: string) {
    // Do not count the steps of the interpreter itself, or steps after the limit.
    if (!isCounting || failure !== undefined) return exec.call(this, text)
    isCounting = false
    const { lastIndex } = this
    try {
      return counted(this, String(text), count)
    } catch (error) {
      failure = error
      this.lastIndex = lastIndex
      return exec.call(this, text)
    } finally {
      isCounting = true
    }
  }
  return {
    stop: () => {
      RegExp.prototype.exec = exec
      if (failure !== undefined) throw failure
      return count.steps
    }
  }
}

/** The number of steps of all patterns while `run` runs. Fails if there are more than `most`. */
export const stepsOf = (run: () => void, most?: number): number => {
  const counting = countSteps(most)
  try {
    run()
  } finally {
    RegExp.prototype.exec = exec
  }
  return counting.stop()
}
