import type { FuzzTarget } from './target.ts';
import { accept } from './targets/accept.ts';
import { glob, rules, tokenFile } from './targets/access.ts';
import { channel } from './targets/channel.ts';
import { execStatus, kubeconfig, refusal } from './targets/client.ts';
import { duration, endpoint, settings } from './targets/config.ts';
import { engineEvents } from './targets/engine-events.ts';
import { execRequest, notServedPaths } from './targets/exec-request.ts';
import { heldInput } from './targets/held-input.ts';
import { namingSchemes } from './targets/naming-schemes.ts';
import { origin } from './targets/origin.ts';
import { protocol, webSocketHandshake } from './targets/protocol.ts';
import { selectors } from './targets/selectors.ts';
import { spdyConnection } from './targets/spdy-connection.ts';
import { spdyDecoder } from './targets/spdy-decoder.ts';
import { headerBlock, spdyHeaders } from './targets/spdy-headers.ts';
import { startFailure } from './targets/start-failure.ts';
import { stdcopy } from './targets/stdcopy.ts';
import { terminalSize } from './targets/terminal-size.ts';
import { upgradeBody } from './targets/upgrade-body.ts';

/** Every decoder of src/ that takes bytes or text from outside. A new one gets its line here, and is then under all the tests. */
export const TARGETS: readonly FuzzTarget[] = [
  spdyDecoder,
  headerBlock,
  spdyHeaders,
  spdyConnection,
  channel,
  terminalSize,
  protocol,
  webSocketHandshake,
  heldInput,
  stdcopy,
  engineEvents,
  startFailure,
  namingSchemes,
  execRequest,
  notServedPaths,
  upgradeBody,
  origin,
  selectors,
  accept,
  execStatus,
  refusal,
  kubeconfig,
  duration,
  endpoint,
  settings,
  glob,
  rules,
  tokenFile,
];
