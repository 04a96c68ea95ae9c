#!/usr/bin/env node
// The packaged command. An old Node must be able to read this file and say that it is too old, so nothing of ours is
// imported before that is known, and the syntax stays plain.
import fs from 'node:fs';
import module from 'node:module';
import url from 'node:url';

const OLDEST_NODE = 24;

if (Number(process.versions.node.split('.')[0]) < OLDEST_NODE) {
  process.stderr.write(`execlet: needs Node ${OLDEST_NODE} or newer, and this is ${process.version}\n`);
  process.exitCode = 2;
} else {
  // What V8 has made of the code when it was built (scripts/compile-cache.ts). Node runs what it finds there, so it is looked for beside
  // the code alone, where whoever may write can change the code itself; and it is never made here.
  const compiled = url.fileURLToPath(new URL('compiled', import.meta.url));
  if (fs.existsSync(compiled)) module.enableCompileCache(compiled);
  void import('./main.ts');
}
