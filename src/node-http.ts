/**
 * Node's http module, asked for as `require` would.
 *
 * `import … from 'node:http'` reads every export that there is, and to answer for `WebSocket` Node loads all of its own WebSocket and
 * fetch: 20 ms of the start and some megabytes, for nothing. So values come from here, and types from `node:http` by `import type`.
 */
export const { Agent, createServer, IncomingMessage, request, STATUS_CODES } = process.getBuiltinModule('node:http');
