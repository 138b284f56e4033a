/**
 * Loaded into every server that is measured: tells its memory after a garbage collection, and profiles it, when the bench
 * asks. Costs nothing between two questions. Ends the server with the bench.
 */
import { writeFileSync } from "node:fs"
import { Session } from "node:inspector/promises"

let session

const connect = () => {
  session = new Session()
  session.connect()
}

const write = ({ profile }, file) => {
  session.disconnect()
  writeFileSync(file, JSON.stringify(profile))
}

const questions = {
  async memory() {
    for (let i = 0; i < 4; i++) {
      globalThis.gc()
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    const { external, heapUsed, rss } = process.memoryUsage()
    return { rss, live: heapUsed + external }
  },
  async startHeapProfile() {
    connect()
    await session.post("HeapProfiler.startSampling", { samplingInterval: 4096 })
  },
  /** What was allocated meanwhile and is still in use. */
  async stopHeapProfile(file) {
    globalThis.gc()
    write(await session.post("HeapProfiler.stopSampling"), file)
  },
  async startProfile() {
    connect()
    await session.post("Profiler.enable")
    await session.post("Profiler.setSamplingInterval", { interval: 250 })
    await session.post("Profiler.start")
  },
  async stopProfile(file) {
    write(await session.post("Profiler.stop"), file)
  },
  async startCoverage() {
    connect()
    await session.post("Profiler.enable")
    await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false })
  },
  /** The files of `dist` in which a function was called meanwhile. */
  async stopCoverage() {
    const { result } = await session.post("Profiler.takePreciseCoverage")
    session.disconnect()
    return result
      .filter(({ functions }) => functions.some(({ ranges }) => ranges.some(({ count }) => count > 0)))
      .flatMap(({ url }) => /^file:.*(?<!node_modules\/.*)\/dist\/(.+)\.js$/.exec(url)?.[1] ?? [])
      .sort()
  }
}

process.on("message", ([id, question, argument]) => {
  questions[question](argument).then((answer) => process.send([id, answer]))
})
process.on("disconnect", () => process.exit())
process.channel.unref()
