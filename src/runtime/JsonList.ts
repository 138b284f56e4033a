import { Either, Schema } from "effect"
import * as Codec from "./Codec.ts"
import { Written } from "./CodecEncoder.ts"

/**
 * A list of what the database has written as JSON: items as clients see them. It is decoded as soon as somebody looks at
 * it; `Codec.encodeJson` passes it on as it came. Stands for decoding rows one by one, which an answer undoes at once.
 * Saves: half of a long reading (`npm run bench -- --only get`).
 * Delete when: `Schema` decodes and encodes 1,000 rows in the time that PostgreSQL takes to write them.
 */
export const make = <A, I>(item: Schema.Schema<A, I>) => {
  const decode = Codec.decodeUnknown(Schema.Array(item))
  return (json: ReadonlyArray<string>): ReadonlyArray<A> => {
    const items: Array<A> = []
    let isDecoded = false
    const decoded = () => {
      if (!isDecoded) {
        const parsed = json.map((one) => JSON.parse(one))
        items.push(...Either.getOrThrowWith(decode(parsed), (error) => error))
      }
      isDecoded = true
      return items
    }
    const list = new Proxy(items, {
      get: (_, name) => Reflect.get(decoded(), name),
      has: (_, name) => Reflect.has(decoded(), name),
      ownKeys: () => Reflect.ownKeys(decoded()),
      getOwnPropertyDescriptor: (_, name) => Reflect.getOwnPropertyDescriptor(decoded(), name)
    })
    Written.of(list, item.ast, json)
    return list
  }
}
