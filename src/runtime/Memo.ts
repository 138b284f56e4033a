/** Caches `make` of each object while the object is in use. */
export const byObject = <Key extends object, Value>(make: (key: Key) => Value): ((key: Key) => Value) =>
  kept(new WeakMap<Key, Value>(), make)

/** Caches `make` of each text for ever, so only for few texts. */
export const byText = <Value>(make: (key: string) => Value): ((key: string) => Value) =>
  kept(new Map<string, Value>(), make)

interface Known<Key, Value> {
  get(key: Key): Value | undefined
  set(key: Key, value: Value): unknown
}

const kept =
  <Key, Value>(known: Known<Key, Value>, make: (key: Key) => Value) =>
  (key: Key): Value => {
    const found = known.get(key)
    if (found !== undefined) return found
    const made = make(key)
    known.set(key, made)
    return made
  }
