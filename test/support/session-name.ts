import assert from 'node:assert/strict';

const NAMED = / \(session [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\)$/;

/** What a client was told of a failure, without the session's id, which must be there. */
export function withoutSessionName(text: string): string {
  assert.match(text, NAMED);
  return text.replace(NAMED, '');
}
