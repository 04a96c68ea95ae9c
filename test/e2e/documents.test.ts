import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { findStaticBusybox, importBusybox } from '../support/busybox-image.ts';
import { CHECKOUT } from '../support/checkout.ts';
import { runCommand } from '../support/command.ts';
import { blocksOf, documentPaths, readDocument, type DocumentBlock } from '../support/document-commands.ts';
import { DocumentStage } from '../support/document-stage.ts';
import { DOCUMENTS, type Played } from '../support/document-table.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';

// Every command in every document is run, in the order of the document. What each document needs, and what is not run here, is in
// test/support/document-table.ts.

const blocks = documentPaths().flatMap(path => blocksOf(path, readDocument(path)));
const firstOf = ({ commands }: DocumentBlock): string => commands[0]?.text.split('\n')[0] ?? '';

test('the table names every block of every document in its order, and no other', () => {
  const documented = Object.fromEntries(
    documentPaths()
      .map(path => [path, blocks.filter(({ document }) => document === path).map(firstOf)] as const)
      .filter(([, firsts]) => firsts.length > 0),
  );
  const listed = Object.fromEntries(
    Object.entries(DOCUMENTS).map(([path, { blocks: of }]) => [path, of.map(({ block }) => block)]),
  );
  assert.deepEqual(listed, documented);
});

test('what is said to be run elsewhere is in the document, and is run there', async () => {
  const { scripts } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  for (const [document, { blocks: listed }] of Object.entries(DOCUMENTS)) {
    for (const { block, elsewhere = {} } of listed) {
      const commands = blocks.find(it => it.document === document && firstOf(it) === block)?.commands ?? [];
      for (const [command, where] of Object.entries(elsewhere)) {
        assert.ok(
          commands.some(({ text }) => text === command),
          `${document}: there is no ${command}`,
        );
        const isScript = where.startsWith('npm ');
        const known = isScript ? where.replace(/^npm (run )?/, '') in scripts : existsSync(join(CHECKOUT, where));
        assert.ok(known, `${document}: ${command} is said to be run by ${where}, which is not there`);
        await acceptsFlags(command, scripts);
      }
    }
  }
});

/** Node's parseArgs refuses the first flag that it does not know: it must be the one that we add. */
async function acceptsFlags(command: string, scripts: Record<string, string>): Promise<void> {
  const [, script = '', args = ''] = /^npm (?:run |(?=test))([\w:]+)(?: -- ([^>]*))?/.exec(command) ?? [];
  if (script === '') return;
  assert.ok(script in scripts, `${command}: there is no such script`);
  const [, file] = /^node (\S+)/.exec(scripts[`${script}:run`] ?? scripts[script] ?? '') ?? [];
  if (args.trim() === '' || file === undefined) return;
  const given = [file, ...args.trim().split(/\s+/), '--no-such-flag'];
  const { exitCode, stderr } = await runCommand(process.execPath, given, { cwd: CHECKOUT });
  assert.notEqual(exitCode, 0, command);
  assert.match(stderr, /'--no-such-flag'/, `${command}: ${stderr}`);
}

describe('every command', () => {
  let engine: TestEngine | undefined;
  before(async () => {
    engine = await startTestEngine();
    const busybox = await findStaticBusybox();
    if (busybox === undefined) throw new Error('the tests need a statically linked busybox');
    await importBusybox(engine.docker, { busybox, tag: 'busybox:latest', label: 'io.execlet.test=documents' });
  });
  after(() => engine?.stop());

  for (const [path, document] of Object.entries(DOCUMENTS)) {
    test(`of ${path}`, async () => {
      if (engine === undefined) throw new Error('there is no Engine');
      engine.requirePrivate(); // containers get names that are not the tests' own
      const stage = await DocumentStage.make({ dockerSocket: new URL(engine.dockerHost).pathname });
      try {
        const directory = join(stage.home, document.directory ?? '');
        for (const [file, text] of Object.entries(document.files ?? {})) {
          await must(stage, `mkdir -p "$(dirname '${file}')"; cat >'${file}' <<'END'\n${text}\nEND`, directory);
        }
        if (document.cluster === true) {
          const cluster = `node '${join(CHECKOUT, 'test', 'support', 'stand-in-cluster.ts')}'`;
          await stage.start(cluster, stage.home, /^a cluster at/);
        }
        for (const command of document.first ?? []) await play(stage, { text: command }, directory, {});
        for (const [index, block] of blocks.filter(it => it.document === path).entries()) {
          const played = document.blocks[index] ?? { block: '' };
          if (played.afterStop === true) await stage.stopBackground();
          const script = [{ text: block.commands.map(({ text }) => text).join('\n') }];
          for (const { text, ...shown } of played.script === true ? script : block.commands) {
            if (played.elsewhere !== undefined && text in played.elsewhere) continue;
            await play(
              stage,
              { ...shown, text: await fill(stage, text, directory, document.words) },
              directory,
              played,
            );
          }
        }
      } finally {
        await stage.remove();
        for (const { Id } of await engine.docker.listContainers({ all: true })) {
          await engine.docker.getContainer(Id).remove({ force: true, v: true });
        }
      }
    });
  }
});

/** Puts what the reader would put for a word of the document; one that begins with `$` is what a command prints. */
async function fill(
  stage: DocumentStage,
  text: string,
  directory: string,
  words: Readonly<Record<string, string>> = {},
): Promise<string> {
  let filled = text;
  for (const [word, by] of Object.entries(words)) {
    if (!filled.includes(word)) continue;
    const value = by.startsWith('$ ') ? (await must(stage, by.slice(2), directory)).trim() : by;
    filled = filled.replaceAll(new RegExp(`(?<![\\w-])${word}(?![\\w-])`, 'g'), value);
  }
  return filled;
}

async function play(
  stage: DocumentStage,
  { text, output }: { text: string; output?: string },
  directory: string,
  { exits = {} }: Partial<Played>,
): Promise<void> {
  if (/^(umask|export) |^\w+=\S*$/.test(text)) {
    stage.remember(text);
    return;
  }
  if (text.endsWith(' &') || (/(^| )(serve)( |$)/.test(text) && !text.includes('--help'))) {
    return stage.start(text.replace(/ &$/, ''), directory, /"event":"ready"/);
  }
  if (/ (-w|--watch)( |$)/.test(text)) return stage.start(text, directory, /./);
  const expected = Object.entries(exits).find(([beginning]) => text.startsWith(beginning))?.[1] ?? 0;
  if (/ (-it|-ti)( |$)/.test(text)) {
    const ended = await stage.atTerminal(text, directory);
    assert.equal(ended.exitCode, expected, `${text}\n${ended.output}`);
    return;
  }
  const { exitCode, stdout, stderr } = await stage.run(text, directory);
  assert.equal(exitCode, expected, `${text}\nends with ${exitCode}\n${stdout.toString()}${stderr}`);
  if (output !== undefined) assert.equal(`${stdout.toString()}${stderr}`, output, text);
}

async function must(stage: DocumentStage, command: string, directory: string): Promise<string> {
  const { exitCode, stdout, stderr } = await stage.run(command, directory);
  assert.equal(exitCode, 0, `${command}\n${stderr}`);
  return stdout.toString();
}
