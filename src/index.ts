export { Api } from "./api/Api.ts"
export { ApiRateLimit, Authentication, ChatRateLimit, ErasureRateLimit } from "./api/Authentication.ts"
export { ChatAnswer, ChatApi, ChatRequest } from "./api/ChatApi.ts"
export { ConversationList, ConversationPatch, ConversationsApi, MessageList } from "./api/ConversationsApi.ts"
export { DataApi } from "./api/DataApi.ts"
export { ErasureApi, ErasureRequest } from "./api/ErasureApi.ts"
export { ExportLine } from "./api/ExportLine.ts"
export { openApi, type SecurityScheme } from "./api/OpenApi.ts"
export { OperatingApi } from "./api/OperatingApi.ts"
export { StreamEvent } from "./api/StreamEvent.ts"
export { TaskHistory, TaskList, TasksApi } from "./api/TasksApi.ts"
export { TurnsApi, Undone } from "./api/TurnsApi.ts"
export { Me, UsageReport, UsersApi } from "./api/UsersApi.ts"
export {
  AgentBusy,
  AgentContentRefused,
  AgentContextTooLong,
  AgentCutOff,
  type AgentError,
  AgentEvent,
  AgentFailed,
  AgentMessageRefused,
  AgentMisconfigured,
  AgentSlow,
  AgentTimeout,
  AgentUnreachable
} from "./domain/Agent.ts"
export {
  ApprovalClosed,
  AwaitedCall,
  Awaiting,
  type Confirm,
  type Decided,
  Decision,
  Held,
  HeldCall,
  TaskVersion
} from "./domain/Approval.ts"
export {
  Conversation,
  ConversationForbidden,
  ConversationNotFound,
  ConversationTitle,
  type HistoryMessage,
  Message,
  MessageNotFound,
  Role
} from "./domain/Conversation.ts"
export { Cursor } from "./domain/Cursor.ts"
export { ErasureInProgress } from "./domain/Erasure.ts"
export { ConversationId, MessageId, TaskId, TurnId, UserId } from "./domain/Id.ts"
export { Identity } from "./domain/Identity.ts"
export { NewTask, TaskPatch } from "./domain/NewTask.ts"
export { type AnyProblem, isProblem, Problem, RequestId } from "./domain/Problem.ts"
export { ProviderState } from "./domain/ProviderState.ts"
export {
  CurrentUser,
  InternalError,
  InvalidRequest,
  InvalidToken,
  MethodNotAllowed,
  MissingToken,
  NotAcceptable,
  NotFound,
  OriginForbidden,
  PayloadTooLarge,
  RateLimited,
  TimeZone,
  Unavailable,
  UnsupportedMediaType,
  UserMismatch
} from "./domain/Request.ts"
export {
  Cause,
  Label,
  Labels,
  LocalDate,
  Priority,
  Task,
  TaskChanged,
  TaskDescription,
  TaskNotFound,
  TaskTitle
} from "./domain/Task.ts"
export { TaskChange } from "./domain/TaskChange.ts"
export { type Place, ToolCall, ToolCallStarted, ToolCalls, ToolResult } from "./domain/ToolCall.ts"
export {
  BudgetExhausted,
  IdempotencyInProgress,
  IdempotencyKeyReused,
  Reverted,
  TooManyTurns,
  Turn,
  TurnCancelled,
  TurnEnd,
  TurnError,
  TurnFailed,
  TurnInProgress,
  TurnInterrupted,
  TurnLost,
  TurnNotFound,
  TurnRefused,
  TurnStatus,
  TurnTimedOut,
  UndoConflict,
  Usage
} from "./domain/Turn.ts"
export { type Ended, TurnEvent } from "./domain/TurnEvent.ts"
export { UsageDay, type UsageRange } from "./domain/UsageDay.ts"
export * as Cors from "./http/Cors.ts"
export * as Fallback from "./http/Fallback.ts"
export * as Mcp from "./http/mcp/Mcp.ts"
export * as Routes from "./http/Routes.ts"
export * as ChatCompletions from "./models/ChatCompletions.ts"
export type { Options as UpstreamOptions } from "./models/Endpoint.ts"
export * as Offline from "./models/Offline.ts"
export * as OpenAi from "./models/OpenAi.ts"
export { type Allowance, type Budget, Budgets } from "./services/access/Budgets.ts"
export { type Attempt, Idempotency, type Once } from "./services/access/Idempotency.ts"
export { Identities } from "./services/access/Identities.ts"
export { type Limit, type Limits, type Policy, RateLimits, type Standing } from "./services/access/RateLimits.ts"
export { type Keys, NoSigningKey, type PublicKeyAlgorithm, Tokens } from "./services/access/Tokens.ts"
export { TokenUsage, type UsageTotal } from "./services/access/TokenUsage.ts"
export { Agent, type AgentOptions, type AgentTurn, type CallPlace } from "./services/agent/Agent.ts"
export { FallbackModel, ModelName, type NamedModel } from "./services/agent/Models.ts"
export {
  type ConversationPage,
  type ConversationQuery,
  Conversations,
  type MessagePage,
  type MessageQuery
} from "./services/Conversations.ts"
export { Erasing } from "./services/data/Erasing.ts"
export { Erasure } from "./services/data/Erasure.ts"
export { type Copy, Exports } from "./services/data/Exports.ts"
export * as Services from "./services/Services.ts"
export { type HistoryPage, type TaskPage, type TaskQuery, Tasks, type Versioned } from "./services/tasks/Tasks.ts"
export * as TaskTools from "./services/tasks/TaskTools.ts"
export { type Answer, Chat, type ChatOptions, type Reading } from "./services/turns/Chat.ts"
export { Turns } from "./services/turns/Turns.ts"
export type {
  BegunTurn,
  Ending,
  ExistingTurn,
  IdempotencyKey,
  Outcome,
  Refusal,
  Renewed,
  StoredTurn,
  TurnKey,
  TurnRequest,
  TurnsOptions
} from "./services/turns/TurnTypes.ts"
export { Signals } from "./sql/Signals.ts"
export * as Sql from "./sql/Sql.ts"
