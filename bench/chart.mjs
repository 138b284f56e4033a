/**
 * A chart of CPU beside the last server's, as SVG: one group of bars for each row that is CPU per 1,000. Bars longer than
 * `longest` times the last server's are cut, so that the others can be told apart.
 */

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

const colours = ["#0b7285", "#adb5bd", "#e8590c", "#5f3dc4", "#2b8a3e"]

const [left, width, bar, gap, top] = [300, 420, 14, 14, 40]

const longest = 4

export const chart = (rows) => {
  const shown = rows.filter(({ label }) => label.endsWith(": CPU per 1,000"))
  const names = [...(shown[0]?.values.keys() ?? [])]
  const last = names.at(-1)
  const bars = shown.map(({ label, title, values }) => ({
    label: `${title}: ${label.replace(": CPU per 1,000", "")}`,
    ratios: names.map((name) => median(values.get(name).map((value, round) => value / values.get(last)[round])))
  }))
  const most = Math.min(longest, Math.max(1, ...bars.flatMap(({ ratios }) => ratios)))
  const group = names.length * bar + gap
  const height = top + bars.length * group + 10
  const text = (x, y, words, anchor = "start") =>
    `<text x="${x}" y="${y}" text-anchor="${anchor}">${escaped(words)}</text>`
  const legend = names.map((name, i) => {
    const x = 10 + i * 150
    return `<rect x="${x}" y="10" width="12" height="12" fill="${colours[i]}"/>${text(x + 18, 20, name)}`
  })
  const groups = bars.map(({ label, ratios }, row) => {
    const y = top + row * group
    const drawn = ratios.map((ratio, i) => {
      const length = Math.max(1, Math.min(1, ratio / most) * width)
      const at = y + i * bar
      const fill = `fill="${colours[i]}"`
      const cut =
        ratio > most ? `<rect x="${left + width - 24}" y="${at}" width="4" height="${bar - 2}" fill="#fff"/>` : ""
      const figure = text(left + length + 6, at + 10, ratio < 10 ? ratio.toFixed(2) : ratio.toFixed(0))
      return `<rect x="${left}" y="${at}" width="${length.toFixed(1)}" height="${bar - 2}" ${fill}/>${cut}${figure}`
    })
    return [text(left - 10, y + (names.length * bar) / 2 + 4, label, "end"), ...drawn].join("\n")
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + width + 60} ${height}" font-family="sans-serif" font-size="11" role="img">`,
    `<title>CPU of the server for the same work, beside that of ${escaped(last ?? "")}</title>`,
    '<rect width="100%" height="100%" fill="#fff"/>',
    ...legend,
    ...groups,
    "</svg>",
    ""
  ].join("\n")
}
