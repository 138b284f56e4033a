import { HttpLayerRouter, HttpServerResponse } from "@effect/platform"
import { Layer } from "effect"
import { Mcp, Routes, TaskTools } from "taskchat"
import { authentication } from "./Users.ts"

const own = HttpLayerRouter.add("GET", "/", HttpServerResponse.text("The app's own page"))

/** `POST /assistant/api/me/chat` and so on, MCP at `/assistant/mcp`, and documentation at `/assistant/docs`. */
const assistant = Layer.merge(
  Routes.layerOpen({ messageMaxLength: 4000 }),
  Layer.provide(Mcp.layerOpen({ origins: [] }), TaskTools.layer)
).pipe(Layer.provide(authentication), Routes.under("/assistant"))

/** Needs the services, limits and `Sessions`. */
export const routes = Layer.merge(own, assistant)
