/** Tables in Markdown out of rows, and whether they reach the targets. */

const median = (values) => {
  const sorted = values.toSorted((a, b) => a - b)
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2
}

const short = (value) =>
  Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3)).toString()

/** The median, with the least and the greatest; of ten or more, with the quartiles. */
const spread = (values, unit) => {
  if (values.length === 1) return `${short(values[0])} ${unit}`
  const sorted = values.toSorted((a, b) => a - b)
  const outside = values.length < 10 ? 0 : Math.floor(values.length / 4)
  return `${short(median(values))} ${unit} (${short(sorted[outside])}–${short(sorted.at(-1 - outside))})`
}

/** The median over the rounds of what one server takes over what another takes. */
const ratio = (values, others) => median(values.map((value, round) => value / others[round]))

const line = (cells) => `| ${cells.join(" | ")} |`

/** Values are medians of the rounds, ratios are medians of each round's ratio, both with their spread. */
export const table = (title, rows) => {
  const names = [...rows[0].values.keys()]
  const pairs = names
    .filter((name) => !references.includes(name))
    .flatMap((name) => references.filter((other) => names.includes(other)).map((other) => [name, other]))
    .concat(names.filter(isVariant).flatMap((name) => (names.includes("taskchat") ? [[name, "taskchat"]] : [])))
  const head = ["", ...names, ...pairs.map(([name, other]) => `${name} / ${other}`)]
  return [
    `### ${title}`,
    "",
    line(head),
    line(head.map((_, i) => (i === 0 ? "---" : "---:"))),
    ...rows.map(({ label, unit, values }) =>
      line([
        label,
        ...names.map((name) => spread(values.get(name), unit)),
        ...pairs.map(
          ([name, other]) =>
            `${spread(
              values.get(name).map((value, round) => value / values.get(other)[round]),
              "×"
            )}`
        )
      ])
    ),
    ""
  ].join("\n")
}

/** What taskchat is compared with. */
export const references = ["bare", "fastify", "mastra"]

/** The program with other pieces, or traced: compared with itself. */
const isVariant = (name) => name.startsWith("stock") || name === "taskchat-traced"

/** By the key of a row: at most so many times the bare ceiling, and Fastify with the AI SDK. */
const targets = [
  ["json", "JSON turn", { bare: 2.5, fastify: 0.7 }],
  ["tool", "turn with a tool call", { bare: 3, fastify: 0.5 }],
  ["tokens100", "streamed token, at 100 streams", { bare: 3, fastify: 0.5 }],
  ["tokens500", "streamed token, at 500 streams", { bare: 3, fastify: 0.3 }],
  ["get20", "20 messages", { fastify: 0.8 }],
  ["get40", "1,000 messages, answers of 40 characters", { fastify: 0.6 }],
  ["get600", "1,000 messages, answers of 600 characters", { fastify: 0.6 }],
  ["conversations", "50 conversations", { fastify: 0.8 }],
  ["tasks", "100 tasks", { fastify: 0.8 }],
  ["memory", "memory per open stream, RSS", { bare: 1.5, fastify: 0.6 }]
]

/** By the keys of two rows, the one of more and the one of less: at most so many times. */
const growth = [
  ["turn at 20,000 messages / at 10", "messages20000", "messages10", 1.1],
  ["turn with 1,000,000 conversations there / with 10", "there1000000", "there10", 1.1],
  ["first page of 100,000 tasks / of 100", "newest100000", "newest100", 3],
  ["due this week, of 100,000 tasks / of 100", "week100000", "week100", 3],
  ["search in 100,000 tasks / in 100", "search100000", "search100", 10]
]

/** Which targets were measured and reached, for each server that is none of the references. */
export const verdict = (rows) => {
  const byKey = new Map(rows.map((row) => [row.key, row.values]))
  const servers = [...rows[0].values.keys()].filter((name) => !references.includes(name))
  const judge = (server, what, actual, most) =>
    line([server, what, `${short(actual)} ×`, `at most ${most} ×`, actual <= most ? "ok" : "**not**"])
  const lines = servers.flatMap((server) => [
    ...targets.flatMap(([key, label, limits]) =>
      Object.entries(limits).flatMap(([reference, most]) => {
        const values = byKey.get(key)
        return values?.has(reference)
          ? [judge(server, `${label} / ${reference}`, ratio(values.get(server), values.get(reference)), most)]
          : []
      })
    ),
    ...growth.flatMap(([label, large, small, most]) =>
      byKey.get(large)?.has(server)
        ? [judge(server, label, ratio(byKey.get(large).get(server), byKey.get(small).get(server)), most)]
        : []
    )
  ])
  const head = ["server", "CPU of the server, or memory", "measured", "target", ""]
  return lines.length === 0 ? "" : ["### Targets", "", line(head), line(head.map(() => "---")), ...lines, ""].join("\n")
}
