import { parseArgs } from 'node:util';
import { readConfig } from './config.ts';
import { createProxy } from './server.ts';

const { values } = parseArgs({ options: { config: { type: 'string' } } });
if (values.config === undefined) {
  console.error('usage: node main.ts --config FILE');
  process.exit(2);
}
const config = readConfig(values.config);
const proxy = createProxy(config);
proxy.server.listen(config.port, config.address, () => {
  console.log(JSON.stringify({ event: 'ready', ...(proxy.server.address() as object) }));
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, proxy.stop);
