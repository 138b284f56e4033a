import { Context, Effect } from "effect"

/** Whether there is room on the disk for what is written next. A database server looks after its own. */
export class Room extends Context.Reference<Room>()("taskchat/domain/Room", {
  defaultValue: () => ({ isLeft: Effect.succeed(true) })
}) {}
