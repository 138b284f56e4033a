const seconds = { type: "integer", minimum: 1 }

/** Every response header that the document describes. */
export const headers = {
  "X-Request-Id": {
    description: "The request's id if it was valid, else a new one; it is also in the request's log lines",
    required: true,
    schema: { type: "string" },
    example: "2f1c7f0e-6f4b-4a47-9a53-0d7a4b9f6f10"
  },
  "X-Content-Type-Options": {
    description: "Browsers must use `Content-Type` and not guess another type",
    required: true,
    schema: { type: "string", enum: ["nosniff"] },
    example: "nosniff"
  },
  "X-RateLimit-Limit": {
    description: "The user's limit of requests in a window",
    schema: { type: "integer" },
    example: 600
  },
  "X-RateLimit-Remaining": {
    description: "Requests left in this window",
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
      "The same in the form of the IETF draft: the policy, the remaining requests (`r`) and the seconds until the window ends (`t`)",
    schema: { type: "string" },
    example: '"api";r=599;t=60'
  },
  "RateLimit-Policy": {
    description: 'The policy (`"chat"` or `"api"`), its requests (`q`) and its window in seconds (`w`)',
    schema: { type: "string" },
    example: '"api";q=600;w=60'
  },
  "Retry-After": { description: "Seconds to wait before the next attempt", schema: seconds, example: 1 },
  "Idempotent-Replayed": {
    description: "Present on a repeated answer to the same `Idempotency-Key`; nothing has run again",
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
    description: "The address of the created resource",
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
    description: "With 405: the methods of this path",
    schema: { type: "string" },
    example: "GET, HEAD, PATCH, DELETE"
  },
  "Cache-Control": {
    description:
      "`private, no-cache`: the answer is only for the token's user. Streams have `no-cache, no-transform`: proxies must not store or change them",
    schema: { type: "string" },
    example: "private, no-cache"
  },
  "Content-Disposition": {
    description: "Save as a file with this name",
    required: true,
    schema: { type: "string" },
    example: 'attachment; filename="taskchat-1-2026-01-31.jsonl"'
  },
  "X-Accel-Buffering": {
    description: "Proxies must not buffer the stream",
    required: true,
    schema: { type: "string" },
    example: "no"
  },
  "X-Vercel-AI-UI-Message-Stream": {
    description: "The version of a UI message stream",
    schema: { type: "string", enum: ["v1"] },
    example: "v1"
  },
  "Content-Security-Policy": {
    description: "What the page may load: nothing from other origins",
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

/** The usual spelling of request headers; HTTP ignores case, readers do not. */
export const capitals: Readonly<Record<string, string>> = {
  "idempotency-key": "Idempotency-Key",
  "if-match": "If-Match",
  "last-event-id": "Last-Event-ID",
  "mcp-protocol-version": "MCP-Protocol-Version",
  "time-zone": "Time-Zone"
}
