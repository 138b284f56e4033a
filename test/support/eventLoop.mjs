// Loaded into a service before its own program, this tells the process that started it what its event loop has done since it
// was last asked.
import { readFileSync } from "node:fs"
import { monitorEventLoopDelay } from "node:perf_hooks"

/** Of the main thread, in milliseconds; of the whole process where the system does not tell of threads. */
const cpuTime = () => {
  try {
    return Number(readFileSync("/proc/thread-self/schedstat", "utf8").split(" ")[0]) / 1e6
  } catch {
    const { system, user } = process.cpuUsage()
    return (user + system) / 1000
  }
}

const delay = monitorEventLoopDelay({ resolution: 1 })
delay.enable()
let before = cpuTime()

process.on("message", () => {
  const now = cpuTime()
  process.send?.({ cpu: now - before, blocked: Number.isFinite(delay.max) ? delay.max / 1e6 : 0 })
  before = now
  delay.reset()
})
process.channel?.unref()
