/**
 * Where the time of a CPU profile went, without what it spent waiting, and what the memory of a heap profile is for: by
 * package and by function.
 */
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

const report = (all, what, self, callers) => {
  const packages = new Map()
  const functions = new Map()
  const inclusive = new Map()
  for (const [node, amount] of self) {
    const { label, name } = nameOf(node)
    add(packages, name || node.callFrame.functionName, amount)
    add(functions, label, amount)
    const seen = new Set()
    for (let at = node; at !== undefined; at = callers.get(at)) {
      const { isOurs, label: caller } = nameOf(at)
      if (!isOurs || seen.has(caller)) continue
      seen.add(caller)
      add(inclusive, caller, amount)
    }
  }
  return [
    `By package, of ${what}:`,
    lines(packages, all, 25),
    "By function:",
    lines(functions, all, 40),
    "The server's own functions, with what they call:",
    lines(inclusive, all, 40)
  ].join("\n\n")
}

const nameOf = ({ callFrame: { functionName, lineNumber, url } }) => {
  const place = placeOf(url)
  return { ...place, label: `${functionName || "(anonymous)"}  ${url && `${place.file}:${lineNumber + 1}`}` }
}

const total = (self) => [...self.values()].reduce((sum, amount) => sum + amount, 0)

/** Of a CPU profile: self time. */
export const cpuSummary = (file) => {
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file, "utf8"))
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const callers = new Map(nodes.flatMap((node) => (node.children ?? []).map((id) => [byId.get(id), node])))
  const self = new Map()
  for (const [i, id] of samples.entries()) {
    const node = byId.get(id)
    if (!["(idle)", "(program)"].includes(node.callFrame.functionName)) add(self, node, timeDeltas[i])
  }
  const all = total(self)
  return report(all, `${(all / 1e6).toFixed(2)} s`, self, callers)
}

/** Of a sampled heap: what each function allocated. */
export const heapSummary = (file) => {
  const { head } = JSON.parse(readFileSync(file, "utf8"))
  const self = new Map()
  const callers = new Map()
  const visit = (node) => {
    self.set(node, node.selfSize)
    for (const child of node.children) {
      callers.set(child, node)
      visit(child)
    }
  }
  visit(head)
  const all = total(self)
  return report(all, `${(all / 2 ** 20).toFixed(1)} MiB`, self, callers)
}
