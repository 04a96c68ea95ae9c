/** What a Kubernetes Status may say about the object that a request meant. */
export interface StatusDetails {
  readonly name?: string;
  readonly kind?: string;
  readonly causes?: readonly { readonly reason?: string; readonly message: string }[];
  readonly retryAfterSeconds?: number;
}

/** A failure Status as an API server answers it: the JSON body that kubectl prints as `Error from server (REASON): MESSAGE`. */
export interface StatusBody {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  readonly metadata: Record<string, never>;
  readonly status: 'Failure';
  readonly message: string;
  readonly reason: string;
  /** Never absent, as from an API server: kubectl debug looks into that of a 404, and panics where there is none. */
  readonly details: StatusDetails;
  readonly code: number;
}

/** `code` is the HTTP status that carries the body; `reason` one of Kubernetes' CamelCase words. */
export function statusBody(code: number, reason: string, message: string, details: StatusDetails = {}): StatusBody {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason,
    details,
    code,
  };
}
