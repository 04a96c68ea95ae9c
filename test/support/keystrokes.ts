import { setTimeout as delay } from 'node:timers/promises';
import { WebSocketClient } from './websocket-client.ts';

// A process of its own, so that nothing but the daemon and the machine is measured: holds a terminal that echoes, and answers each
// message of its parent, a number of milliseconds, with what every keystroke took to come back in that time. Ends with its channel.

const KEYSTROKE_EVERY_MS = 20;

const [url = '', authorization = '', ca] = process.argv.slice(2);
const client = await WebSocketClient.open({
  url,
  ...(ca !== undefined && { ca }),
  headers: { Authorization: authorization },
  protocols: ['v5.channel.k8s.io'],
});
await client.until(() => client.received(1).includes('ready'));
process.on('message', (forMs: number) => {
  void keystrokes(forMs).then(echoes => process.send?.(echoes));
});
process.on('disconnect', () => {
  client.close();
  void client.closed.then(() => process.exit(0));
});
process.send?.('ready');

/** Milliseconds from each keystroke to its echo. */
async function keystrokes(forMs: number): Promise<number[]> {
  const echoes: number[] = [];
  const end = performance.now() + forMs;
  while (performance.now() < end) {
    const bytes = client.receivedBytes(1);
    const sentAt = performance.now();
    await client.send(0, Buffer.from('x'));
    await client.until(() => client.receivedBytes(1) > bytes);
    echoes.push(performance.now() - sentAt);
    await delay(KEYSTROKE_EVERY_MS);
  }
  return echoes;
}
