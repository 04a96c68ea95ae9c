const REASONS = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  500: 'InternalError',
  503: 'ServiceUnavailable',
} as const;

export type Code = keyof typeof REASONS;

/** What a request is refused with: becomes a Kubernetes Status, whose message kubectl prints. */
export class Refusal extends Error {
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A failure as a Kubernetes Status, in JSON: with `details`, since kubectl debug panics without. Of a mistake of ours nothing is told but that there is one. */
export function statusOf(cause: unknown): { readonly code: Code; readonly body: string } {
  const { code, message } = cause instanceof Refusal ? cause : new Refusal(500, 'the proxy failed');
  const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, details: {} };
  return { code, body: JSON.stringify({ ...status, reason: REASONS[code], code }) };
}
