/**
 * Counts the files of `src` that one chat message passes, by V8's coverage of one JSON turn, and prints them.
 * `DATABASE_URL=… node bench/files.mjs`, after `npm run build`.
 */
import { fileURLToPath } from "node:url"
import { chat } from "./client.mjs"
import { cleanUp, createDatabase, serverOf, startModel, startServer } from "./servers.mjs"

const user = 900_000_000
const message = "What should I do today?"

try {
  const modelUrl = await startModel()
  const server = await startServer(
    serverOf(`modules=${fileURLToPath(new URL("../dist/main.js", import.meta.url))}`),
    await createDatabase("files"),
    modelUrl
  )
  // What is only done the first time is no part of a message's way.
  const { conversation_id } = await chat(server, user, message)
  await server.startCoverage()
  await chat(server, user, message, conversation_id)
  const files = await server.stopCoverage()
  console.log(files.join("\n"))
  console.log(`\n${files.length} files`)
} finally {
  await cleanUp()
}
process.exit(0)
