/** The API within another app, under a prefix and behind that app's own users. */
import { HttpLayerRouter, HttpServerResponse } from "@effect/platform"
import { Layer } from "effect"
import { Mcp, Routes, TaskTools } from "taskchat"
import { authentication } from "./users.ts"

const own = HttpLayerRouter.add("GET", "/", HttpServerResponse.text("The app's own page"))

/**
 * All of it: `POST /assistant/api/{user_id}/chat` and so on, with MCP at `/assistant/mcp` and its documentation at
 * `/assistant/docs`. What it does not have under its prefix it answers itself.
 */
const assistant = Layer.merge(
  Routes.layerOpen({ messageMaxLength: 4000 }),
  Layer.provide(Mcp.layerOpen({ origins: [] }), TaskTools.layer)
).pipe(Layer.provide(authentication), Routes.under("/assistant"))

/** Needs the services and the app's `Sessions`. */
export const app = Layer.merge(own, assistant)

/** Or the tasks alone: what they do not need is not asked for. */
export const tasksOnly = Layer.merge(own, Routes.tasks.pipe(Layer.provide(authentication), Routes.under("/todo")))
