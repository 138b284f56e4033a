import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { files } from "../support/Repository.ts"
import * as Server from "../support/Server.ts"
import { send } from "../support/Server.ts"

const assets = files("src/http/page/assets")
  .map((file) => `/page/${file.split("/").pop()}`)
  .filter((path) => path !== "/page/index.html")

const served = (path: string, host: string) =>
  Effect.map(send("GET", path, { headers: { host } }), ({ status }) => status)

layer(Server.layer({ pageModel: "scripted" }))("the page", (it) => {
  it.effect("allows nothing inline and nothing from elsewhere", () =>
    Effect.gen(function* () {
      const { headers, status, text } = yield* send("GET", "/")
      assert.deepStrictEqual([status, headers["content-type"]], [200, "text/html; charset=utf-8"])
      assert.match(headers["content-security-policy"] ?? "", /default-src 'none'; script-src 'self'; style-src 'self';/)
      assert.notInclude(headers["content-security-policy"], "unsafe")
      assert.strictEqual(headers["x-content-type-options"], "nosniff")
      assert.notMatch(text, /<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|(?:src|href)="(?:https?:)?\/\//)
    })
  )

  it.effect.each(assets)("has its file %s", (path) =>
    Effect.gen(function* () {
      const { headers, status, text } = yield* send("GET", path)
      assert.strictEqual(status, 200)
      assert.match(headers["content-type"] ?? "", /^(?:text\/(?:css|javascript); charset=utf-8|image\/svg\+xml)$/)
      assert.strictEqual(headers["x-content-type-options"], "nosniff")
      assert.notMatch(text, /innerHTML|insertAdjacentHTML|document\.write|\beval\(/)
    })
  )

  it.effect("accepts only GET and HEAD, with `Allow`", () =>
    Effect.gen(function* () {
      const { headers, status } = yield* send("POST", "/")
      assert.deepStrictEqual([status, headers["allow"]], [405, "GET, HEAD"])
      assert.strictEqual((yield* send("HEAD", "/")).status, 200)
      assert.strictEqual((yield* send("GET", "/page/../page/none.js")).status, 404)
    })
  )
})

describe("pages are served", () => {
  const publicUrl = new URL("https://tasks.example.com")
  const pages = ["/", "/docs", "/page/main.js"]
  const foreign = [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example:3000",
    "tasks.example.com.evil.example"
  ]

  layer(Server.layer({ pageModel: "scripted", hosts: { host: "127.0.0.1", publicUrl } }))(
    "on a loopback address",
    (it) => {
      it.effect("only for loopback hosts and the public host", () =>
        Effect.gen(function* () {
          for (const path of pages) {
            for (const host of [
              "localhost:3000",
              "127.0.0.1",
              "[::1]:80",
              "LOCALHOST",
              "tasks.example.com",
              "Tasks.Example.com"
            ]) {
              assert.strictEqual(yield* served(path, host), 200, `${path} ${host}`)
            }
            for (const host of foreign) assert.strictEqual(yield* served(path, host), 404, `${path} ${host}`)
          }
          assert.strictEqual(yield* served("/health", "evil.example"), 200)
        })
      )
    }
  )

  layer(Server.layer({ pageModel: "scripted", hosts: { host: "0.0.0.0", publicUrl } }))("elsewhere", (it) => {
    it.effect("only for the public host", () =>
      Effect.gen(function* () {
        for (const path of pages) {
          assert.strictEqual(yield* served(path, "tasks.example.com"), 200)
          for (const host of ["localhost", "127.0.0.1:3000", ...foreign]) {
            assert.strictEqual(yield* served(path, host), 404, `${path} ${host}`)
          }
        }
      })
    )
  })
})

layer(Server.layer({ origins: "loopback" }))("without CORS_ORIGINS on a loopback address", (it) => {
  it.effect("only pages of this machine may read answers", () =>
    Effect.gen(function* () {
      const allowed = (origin: string) =>
        Effect.map(
          send("OPTIONS", "/api/me/tasks", { headers: { origin, "access-control-request-method": "GET" } }),
          ({ headers }) => headers["access-control-allow-origin"]
        )
      for (const origin of ["http://localhost:5173", "http://127.0.0.1:8080", "http://[::1]:3000"]) {
        assert.strictEqual(yield* allowed(origin), origin)
      }
      for (const origin of ["https://app.example.com", "http://localhost.evil.example", "null"]) {
        assert.isUndefined(yield* allowed(origin))
      }
    })
  )
})
