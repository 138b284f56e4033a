import { fileURLToPath } from "node:url"
import react from "@vitejs/plugin-react"
import { defineConfig } from "vite"

export default defineConfig({
  plugins: [react()],
  resolve: {
    // In an app of your own, install the file that `npm pack` makes and leave these two out.
    alias: { "taskchat/ai-sdk": fileURLToPath(new URL("../../src/ai-sdk.ts", import.meta.url)) },
    dedupe: ["ai"]
  }
})
