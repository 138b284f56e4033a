/** Where the time of a CPU profile went: by package and by function, without what it spent waiting. */
import { readFileSync } from "node:fs"

/** The package and the file in it; of what is in no package, the last folders. */
const placeOf = (url) => {
  const [, name, file] = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\/(.*)/.exec(url) ?? []
  if (name !== undefined) return { name, file: `${name}/${file}`, isOurs: false }
  if (url === "" || url.startsWith("node:")) return { name: url === "" ? "" : "node", file: url, isOurs: false }
  const own = url.replace(/^.*\/(?=dist\/|bench\/)/, "")
  return { name: own, file: own, isOurs: true }
}

const lines = (totals, all, count) =>
  [...totals]
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([name, micros]) => `${((micros / all) * 100).toFixed(1).padStart(5)} %  ${name}`)
    .join("\n")

const add = (totals, name, micros) => totals.set(name, (totals.get(name) ?? 0) + micros)

export const summary = (file) => {
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file, "utf8"))
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const callers = new Map(nodes.flatMap(({ children = [], id }) => children.map((child) => [child, id])))
  const self = new Map()
  for (const [i, id] of samples.entries()) add(self, id, timeDeltas[i])

  const packages = new Map()
  const functions = new Map()
  const inclusive = new Map()
  let all = 0
  const nameOf = ({ callFrame: { functionName, lineNumber, url } }) => {
    const place = placeOf(url)
    return { ...place, label: `${functionName || "(anonymous)"}  ${url && `${place.file}:${lineNumber + 1}`}` }
  }
  for (const [id, micros] of self) {
    const node = byId.get(id)
    if (["(idle)", "(program)"].includes(node.callFrame.functionName)) continue
    const { label, name } = nameOf(node)
    all += micros
    add(packages, name || node.callFrame.functionName, micros)
    add(functions, label, micros)
    const seen = new Set()
    for (let at = id; at !== undefined; at = callers.get(at)) {
      const { isOurs, label: caller } = nameOf(byId.get(at))
      if (!isOurs || seen.has(caller)) continue
      seen.add(caller)
      add(inclusive, caller, micros)
    }
  }
  return [
    `Self time by package, of ${(all / 1e6).toFixed(2)} s:`,
    lines(packages, all, 25),
    "Self time by function:",
    lines(functions, all, 40),
    "Time in the server's own functions and in what they call:",
    lines(inclusive, all, 40)
  ].join("\n\n")
}
