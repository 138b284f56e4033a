/** `make` of each object, made once and kept for as long as the object is in use. */
export const byObject = <Key extends object, Value>(make: (key: Key) => Value): ((key: Key) => Value) =>
  kept(new WeakMap<Key, Value>(), make)

/** `make` of each text, made once and kept for ever: for texts of which there are few. */
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
