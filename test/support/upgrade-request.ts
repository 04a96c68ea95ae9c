import { request as requestHttp, type ClientRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import { dial, type Endpoint } from './dial.ts';

/** The answer to an upgrade request, whatever it is. */
export interface UpgradeAnswer {
  readonly status: number;
  /** The values of a header, one for each time that it came. */
  values(name: string): string[];
  /** Empty for a 101. */
  readonly body: string;
}

export interface UpgradeRequest {
  readonly method: 'GET' | 'POST';
  readonly target: string;
  /** A list is sent as one header each. */
  readonly headers: Readonly<Record<string, string | string[]>>;
}

/** Asks for an upgrade, reads the answer, and closes the connection as soon as it is there. */
export async function askForUpgrade(
  endpoint: Endpoint,
  { method, target, headers }: UpgradeRequest,
): Promise<UpgradeAnswer> {
  const { socket } = await dial(endpoint);
  const asked = requestHttp({ createConnection: () => socket, method, path: target, headers });
  asked.end();
  const answer = await answerTo(asked);
  socket.destroy();
  return answer;
}

function answerTo(asked: ClientRequest): Promise<UpgradeAnswer> {
  return new Promise((resolve, reject) => {
    asked.on('error', reject);
    asked.on('upgrade', ({ statusCode = 0, rawHeaders }) =>
      resolve({ status: statusCode, values: valuesIn(rawHeaders), body: '' }),
    );
    asked.on('response', response => {
      const { statusCode = 0, rawHeaders } = response;
      text(response).then(body => resolve({ status: statusCode, values: valuesIn(rawHeaders), body }), reject);
    });
  });
}

function valuesIn(rawHeaders: readonly string[]): (name: string) => string[] {
  return name =>
    rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name.toLowerCase());
}
