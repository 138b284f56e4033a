import { NodeHttpServer } from "@effect/platform-node"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, HashMap, Layer, Logger } from "effect"
import { vi } from "vitest"
import * as Settings from "../../src/Config.ts"
import * as Welcome from "../../src/server/Welcome.ts"
import { Tokens } from "../../src/services/access/Tokens.ts"
import { temporaryFolder } from "../support/Shell.ts"

/** The printed text and the log at a start with the development secret. */
const welcome = (isTerminal: boolean, format: string) =>
  Effect.gen(function* () {
    const DATA_DIR = yield* temporaryFolder
    const settings = yield* Effect.withConfigProvider(
      Settings.settings,
      ConfigProvider.fromMap(
        new Map([
          ["DATA_DIR", DATA_DIR],
          ["LOG_FORMAT", format]
        ])
      )
    )
    let printed = ""
    let logged = ""
    const print = (text: unknown) => {
      printed += String(text)
    }
    const spies = [vi.spyOn(console, "log"), vi.spyOn(console, "error")].map((spy) => spy.mockImplementation(print))
    const streams = [process.stdout, process.stderr]
    const before = streams.map(({ isTTY }) => isTTY)
    for (const stream of streams) stream.isTTY = isTerminal
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const spy of spies) spy.mockRestore()
        for (const [i, stream] of streams.entries()) stream.isTTY = before[i] ?? false
      })
    )
    const logger = Logger.make(({ annotations, message }) => {
      logged += JSON.stringify([message, ...HashMap.toEntries(annotations)])
    })
    yield* Layer.build(Welcome.layer(settings)).pipe(
      Effect.provide(
        Layer.mergeAll(Tokens.layerTest, NodeHttpServer.layerTest, Logger.replace(Logger.defaultLogger, logger))
      )
    )
    return { printed, logged }
  }).pipe(Effect.scoped, Effect.provide(NodeContext.layer))

describe("the welcome", () => {
  for (const format of ["pretty", "json"]) {
    it.effect(
      `with LOG_FORMAT=${format}, prints the page URL with a token only to a terminal, and never logs the token`,
      () =>
        Effect.gen(function* () {
          const onTerminal = yield* welcome(true, format)
          const [, token = ""] = /Page: {2}http:\/\/[\d.]+:\d+\/#token=(\S+)/.exec(onTerminal.printed) ?? []
          assert.strictEqual(token.split(".").length, 3)
          const elsewhere = yield* welcome(false, format)
          assert.match(elsewhere.printed, /Page: {2}http:\/\/[\d.]+:\d+\/\n/)
          assert.notInclude(elsewhere.printed, "#token")
          for (const { logged } of [onTerminal, elsewhere]) {
            assert.include(logged, "Listening")
            assert.notMatch(logged, /token|eyJ/)
          }
        })
    )
  }
})
