import { Context, Effect } from "effect"

/** Whether the disk has room for the next writes. Always true for a database server, which monitors its own disk. */
export class Room extends Context.Reference<Room>()("taskchat/domain/Room", {
  defaultValue: () => ({ isLeft: Effect.succeed(true) })
}) {}
