import { FrameDecoder } from '../../../src/spdy/decoder.ts';
import type { ControlFrame } from '../../../src/spdy/frame.ts';
import { SpdyError } from '../../../src/spdy/spdy-error.ts';

type Found =
  | ControlFrame
  | { readonly kind: 'DATA'; readonly streamId: number; readonly payload: string; readonly fin: boolean }
  | { readonly kind: 'SpdyError'; readonly scope: string; readonly message: string };

/**
 * What our decoder makes of the chunks, for comparison: pieces of DATA that follow each other on one stream are joined (a
 * cut means nothing), payloads are hex, and a SpdyError comes last. Anything else that is thrown passes through.
 */
export function decoded(chunks: readonly Buffer[]): Found[] {
  const found: Found[] = [];
  const decoder = new FrameDecoder({
    control: frame =>
      found.push('headerBlock' in frame ? { ...frame, headerBlock: Buffer.from(frame.headerBlock) } : frame),
    data: (streamId, piece, fin) => {
      const last = found.at(-1);
      const continued = last?.kind === 'DATA' && last.streamId === streamId && !last.fin ? last : undefined;
      if (continued !== undefined) found.pop();
      found.push({ kind: 'DATA', streamId, payload: (continued?.payload ?? '') + piece.toString('hex'), fin });
    },
  });
  try {
    for (const chunk of chunks) decoder.push(chunk);
  } catch (error) {
    if (!(error instanceof SpdyError)) throw error;
    found.push({ kind: 'SpdyError', scope: error.scope, message: error.message });
  }
  return found;
}
