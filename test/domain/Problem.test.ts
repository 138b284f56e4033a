import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup, HttpServer } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, FastCheck as fc, Layer, Predicate, Schema } from "effect"
import { documentOf, type ProblemClass, RequestId, wire } from "../../src/domain/Problem.ts"
import { TurnNotFound } from "../../src/domain/Turn.ts"
import { files } from "../support/Repository.ts"

type Kind = ProblemClass<string, object, object>

const isKind = (value: unknown): value is Kind =>
  typeof value === "function" && Predicate.hasProperty(value, "about") && Predicate.hasProperty(value, "members")

const modules = await Promise.all(
  files("src/domain").map((file): Promise<object> => import(/* @vite-ignore */ `../../${file}`))
)
const kinds = modules.flatMap((module) => Object.values(module)).filter(isKind)

describe("the wire form of a problem", () => {
  it("exists for every kind", () => {
    assert.includeMembers(
      kinds.map(({ name }) => name),
      ["TurnNotFound", "UndoConflict"]
    )
  })

  it.each(kinds.map((kind) => ({ name: kind.name, kind })))(
    "$name is encoded as its document and decoded again",
    ({ kind }) => {
      const schema = wire(kind)
      const fields = fc.tuple(Arbitrary.make(kind.members), fc.constantFrom(...kind.about.codes))
      fc.assert(
        fc.property(fields, fc.string(), ([members, code], id) => {
          const problem = new kind({ ...members, code })
          const document = Schema.encode(schema)(problem).pipe(Effect.provideService(RequestId, id), Effect.runSync)
          assert.deepStrictEqual<object>(document, documentOf(problem, id))
          const read = Schema.decodeUnknownSync(schema)(document)
          assert.instanceOf(read, kind)
          assert.deepStrictEqual(documentOf(read, id), documentOf(problem, id))
        }),
        { numRuns: 20 }
      )
    }
  )

  it("is the answer of an endpoint on the library's HttpApiBuilder", async () => {
    const api = HttpApi.make("app").add(
      HttpApiGroup.make("app").add(HttpApiEndpoint.get("find", "/find").addError(wire(TurnNotFound)))
    )
    const group = HttpApiBuilder.group(api, "app", (handlers) => handlers.handle("find", () => new TurnNotFound()))
    const layer = HttpApiBuilder.api(api).pipe(Layer.provide(group), Layer.merge(HttpServer.layerContext))
    const { dispose, handler } = HttpApiBuilder.toWebHandler(layer)
    const answer = await handler(new Request("http://app.test/find"))
    assert.deepStrictEqual([answer.status, answer.headers.get("content-type")], [404, "application/problem+json"])
    assert.deepStrictEqual(await answer.json(), documentOf(new TurnNotFound(), "none"))
    await dispose()
  })
})
