import { contract as conversations } from "./testing/contracts/Conversations.ts"
import { contract as tasks } from "./testing/contracts/Tasks.ts"

export type { Fact } from "./testing/contracts/Contract.ts"
export { ConversationSeeds } from "./testing/contracts/Conversations.ts"
export * as ScriptedModel from "./testing/ScriptedModel.ts"
export { type Options as TestServerOptions, TestServer } from "./testing/TestServer.ts"
export { tokenOf } from "./testing/TestTokens.ts"

/** Contracts to test your own implementation of a service, with any test runner. */
export const contracts = { conversations, tasks }
