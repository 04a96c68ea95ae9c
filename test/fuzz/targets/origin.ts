import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ExecletError } from '../../../src/errors.ts';
import { checkLoopbackHost, checkOrigin } from '../../../src/server/origin.ts';
import { outcomeOf, type FuzzTarget } from '../target.ts';

/** Lines `Host` and, perhaps, `Origin`: only what a URL parser too takes for a loopback host may ask. */
export const origin: FuzzTarget = {
  name: 'origin',
  sources: ['server/origin.ts'],
  tokens: [
    'localhost',
    '127.0.0.1',
    '[::1]',
    ':10350',
    ':',
    '\n',
    '.',
    '127.',
    'LOCALHOST',
    '@',
    '#',
    '/',
    'evil.example',
  ],
  nearlyRight: fc
    .tuple(
      fc.constantFrom('localhost', '127.0.0.1', '[::1]', '127.9.9.9'),
      fc.string({ maxLength: 6 }),
      fc.nat({ max: 9 }),
    )
    .map(([host, strange, at]) => host.slice(0, at) + strange + host.slice(at)),
  check: input => {
    const [host, browser] = input.toString('latin1').split('\n');
    const checked = outcomeOf(() => {
      checkOrigin({ origin: browser, host }, { tls: false, allowedOrigins: new Set() });
      checkLoopbackHost({ host });
    }, ExecletError);
    if ('error' in checked) {
      assert.equal(checked.error.code, 'NotAllowed');
      const own = browser?.toLowerCase() === `http://${(host ?? '').toLowerCase()}`;
      assert.ok((browser !== undefined && !own) || !/^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(host ?? ''));
      return;
    }
    if (browser !== undefined) assert.equal(browser.toLowerCase(), `http://${(host ?? '').toLowerCase()}`);
    const url = URL.parse(`http://${(host ?? '').replace(/:\d+$/, '')}/`);
    assert.match(url?.host ?? '', /^(localhost|\[::1\]|127\.\d+\.\d+\.\d+)$/);
    assert.equal(url?.href, `http://${url?.host}/`);
  },
};
