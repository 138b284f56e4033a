const seconds = { type: "integer", minimum: 1 }

/** Every header field of an answer that this API speaks of. */
export const headers = {
  "X-Request-Id": {
    description: "The request's, if it brought one that is valid, else a fresh one; also in every log line about it",
    required: true,
    schema: { type: "string" },
    example: "2f1c7f0e-6f4b-4a47-9a53-0d7a4b9f6f10"
  },
  "X-Content-Type-Options": {
    description: "The body is what `Content-Type` says, and nothing else",
    required: true,
    schema: { type: "string", enum: ["nosniff"] },
    example: "nosniff"
  },
  "X-RateLimit-Limit": {
    description: "How many requests the user may send in a window",
    schema: { type: "integer" },
    example: 600
  },
  "X-RateLimit-Remaining": {
    description: "How many are left in this window",
    schema: { type: "integer", minimum: 0 },
    example: 599
  },
  "X-RateLimit-Reset": {
    description: "When the window ends, in Unix seconds",
    schema: { type: "integer" },
    example: 1769860860
  },
  RateLimit: {
    description:
      "The same in the form of the IETF's draft: the policy, how many are left (`r`), for how many seconds (`t`)",
    schema: { type: "string" },
    example: '"api";r=599;t=60'
  },
  "RateLimit-Policy": {
    description: 'The policy (`"chat"` or `"api"`), how many requests (`q`), in a window of how many seconds (`w`)',
    schema: { type: "string" },
    example: '"api";q=600;w=60'
  },
  "Retry-After": { description: "Seconds to wait before the next attempt", schema: seconds, example: 1 },
  "Idempotent-Replayed": {
    description: "Present when the answer was given before to the same `Idempotency-Key`, and nothing has run again",
    schema: { type: "string", enum: ["true"] },
    example: "true"
  },
  ETag: {
    description: "The version of the task, for `If-Match`",
    required: true,
    schema: { type: "string" },
    example: '"1"'
  },
  Location: {
    description: "The address of what was created",
    required: true,
    schema: { type: "string", format: "uri-reference" },
    example: "/api/1/tasks/7"
  },
  "WWW-Authenticate": {
    description: "How to authenticate (RFC 6750)",
    required: true,
    schema: { type: "string" },
    example: 'Bearer realm="taskchat"'
  },
  "X-Error-Details": {
    description: "The reason of a 403 or 404 in words, as in `detail`",
    schema: { type: "string" },
    example: "Permission denied"
  },
  Allow: {
    description: "Of a 405: the methods that the address takes",
    schema: { type: "string" },
    example: "GET, HEAD, PATCH, DELETE"
  },
  "Cache-Control": {
    description:
      "`private, no-cache`: the answer is for the token's user alone; of a stream `no-cache, no-transform`: nobody in between may keep or change it",
    schema: { type: "string" },
    example: "private, no-cache"
  },
  "Content-Disposition": {
    description: "To be saved as a file, under this name",
    required: true,
    schema: { type: "string" },
    example: 'attachment; filename="taskchat-1-2026-01-31.jsonl"'
  },
  "X-Accel-Buffering": {
    description: "Nor hold it up",
    required: true,
    schema: { type: "string" },
    example: "no"
  },
  "X-Vercel-AI-UI-Message-Stream": {
    description: "Of a UI message stream: its version",
    schema: { type: "string", enum: ["v1"] },
    example: "v1"
  },
  "Content-Security-Policy": {
    description: "What the page may load: nothing from anywhere else",
    required: true,
    schema: { type: "string" },
    example: "default-src 'none'"
  }
} as const satisfies Record<string, object>

export type Header = keyof typeof headers

/** On every answer to an authenticated request. */
export const rateLimit = [
  "X-RateLimit-Limit",
  "X-RateLimit-Remaining",
  "X-RateLimit-Reset",
  "RateLimit",
  "RateLimit-Policy"
] as const satisfies ReadonlyArray<Header>

/** Names of request headers as they are usually written; HTTP does not mind, readers do. */
export const capitals: Readonly<Record<string, string>> = {
  "idempotency-key": "Idempotency-Key",
  "if-match": "If-Match",
  "last-event-id": "Last-Event-ID",
  "mcp-protocol-version": "MCP-Protocol-Version",
  "time-zone": "Time-Zone"
}
