import { beforeEach } from "vitest"

/**
 * What differs where the library's pieces stand in the place of those of `src/runtime`: the tests that fail then, by why.
 * All others pass on both.
 */
const differences: Readonly<Record<string, ReadonlyArray<string>>> = {
  "`HttpApiBuilder` reads bodies of any size and type, and with a byte order mark none": [
    "a body of too many values is refused before anything walks it",
    "a body may have 256 KiB, declared or in chunks, and not a byte more",
    "a body that is not JSON by its type is 415",
    "a body that does not parse, or is no object of ours, is 400",
    "a byte order mark is passed over, the last of duplicate members counts, and unknown ones are ignored",
    "every kind of answer carries the request's id",
    "what is odd but a request is answered as one"
  ],
  "`NodeHttpServer` takes a request for an upgrade for one": [
    "a request that asks for another protocol or expects something is answered as any"
  ],
  "`NodeHttpServer` handles all requests of a packet at once": [
    "are handled one after another, and past a hundred the connection is closed"
  ],
  "`NodeHttpServer` ends the span of a stream when it begins": [
    "says of a reader who left the stream that the client left"
  ],
  "`PgClient` has no gauges": ["is told of, as long as it is open"],
  "`PgClient` keeps connections that are broken, read only or within a transaction": [
    "that ends our connections is away for what runs, and there again for what comes next",
    "has its sessions given up, so that writes succeed again where there is a writer",
    "has its sessions given up, so that writes within transactions succeed again where there is a writer",
    "has the connection that listens given up too",
    "gets no connection back that is within a transaction"
  ],
  "`PgClient` sends BEGIN and COMMIT by themselves": [
    "a transaction that has not said anything yet holds up nobody",
    "is asked twice for two statements of which the second is the last, traced: true",
    "is asked twice for two statements of which the second is the last, traced: false"
  ],
  "a template of `SqlClient` is the last of a transaction only if nothing comes after it": [
    "nothing comes after a last statement that is sent as such"
  ],
  "`LanguageModel.make` fails at a tool that there is not": [
    "an unknown tool: the call arrives as it is, and the answer goes on",
    "wrong arguments, unknown tools, failures and defects go back to the model, and the turn goes on"
  ],
  "`Schema` loses a member `__proto__`": ["is one like any other"],
  "`Effect` restores a fiber's references, and has nothing to let go of them": [
    "are services and annotations, until it forgets them"
  ]
}

const expected = new Set(Object.values(differences).flat())

beforeEach(({ task }) => {
  // One that passes after all fails, so that the list stays true.
  if (expected.has(task.name)) Object.assign(task, { fails: true })
})
