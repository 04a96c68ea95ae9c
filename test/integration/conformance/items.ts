/**
 * What Kubernetes' own test suites and clients ask of the exec call of a node, numbered. The rows of this folder name the
 * numbers; numbers that are missing ask for calls that execlet does not serve.
 */
export const ITEMS: Readonly<Record<number, string>> = {
  1: '`echo running in container` prints exactly that line and ends with exit code 0',
  2: 'one argument of 20 000 characters comes back whole',
  3: 'a command that reads its input ends at the end of the input',
  4: 'a shell that is fed through a pipe which stays open ends the session when it exits',
  5: 'exit codes 0 and 42',
  6: 'exec through an HTTP CONNECT proxy and through `kubectl proxy`',
  7: 'WebSocket: each byte of the output on its channel, nothing but empty messages on any other',
  8: '`kubectl cp`, which is tar over stdin and stdout, is byte exact',
  12: 'no stream asked for is 400; each stream alone and all combinations are 101; the same with a UID in the path',
  13: 'each `command=` is one argument; a terminal has no error output',
  14: 'an idle connection is closed',
  15: 'who may not is refused',
  18: 'without a terminal and without input: exactly the output, no error output, no error at the client',
  19: 'with a terminal and its input held open: the session ends when the command does',
  22: 'negotiation: no version is 400; none in common is 403 with the list of those served; comma-separated lists; the client’s order wins; the answer names the choice once',
  23: 'the status of every outcome is one that clients decode',
  24: 'random data is byte exact in chunks of 1 byte to megabytes; sessions at the same time do not mix',
  25: 'exit codes that are not 0 arrive, also through an API server’s proxy',
  26: 'terminal sizes reach the command in order',
  27: 'PINGs are answered; the end of the connection ends everything at once',
  28: 'WebSocket: no common subprotocol is 403; unknown channels and empty messages are ignored; streams that come late are refused',
  29: 'a refusal has a body that says why, and is never a redirect',
  32: 'a reader that is slower than the command gets all of the output and the exit code',
  33: 'an exit code without output; output without a line end; error output only; the order within each output',
  34: 'a client that resets in the middle leaves nothing behind',
  35: 'input that arrives after the exit is drained, and costs none of the output',
  36: 'hostile SPDY is bounded and ends its own connection only',
};

/** Where an item is shown that this folder does not show alone, or not at all; relative to the repository's root. */
export const ELSEWHERE: Readonly<Record<number, string>> = {
  6: 'test/e2e/apiserver-proxy-example.test.ts, test/e2e/api-server-proxy.test.ts (proxies of an API server; no CONNECT proxy)',
  8: 'test/e2e/kubectl-cp.test.ts',
  14: 'test/integration/session-limits.test.ts',
  15: 'test/integration/access/matrix.test.ts',
  23: 'test/unit/remotecommand/status.test.ts and test/e2e/exit-status.gate.test.ts (every code from 0 to 255)',
  28: 'test/integration/spdy-protocols.test.ts (late streams), test/integration/websocket-protocols.test.ts (text messages)',
  29: 'test/integration/refusals.test.ts',
  32: 'test/integration/slow-reader.test.ts (the command has exited), test/integration/slow-delivery.test.ts, test/e2e/backpressure.test.ts',
  34: 'test/integration/resets.test.ts',
  36: 'test/integration/hostile-spdy.test.ts, test/unit/spdy, test/fuzz',
};
