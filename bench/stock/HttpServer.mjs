import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"

/** @type {typeof import("../../src/runtime/HttpServer.ts").make} */
export const make = (server, options) => NodeHttpServer.make(() => server, options)
