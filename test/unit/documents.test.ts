import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Command } from 'commander';
import { doctorCommand } from '../../src/commands/doctor.ts';
import { execCommand } from '../../src/commands/exec.ts';
import { healthCommand } from '../../src/commands/health.ts';
import { kubeconfigCommand } from '../../src/commands/kubeconfig.ts';
import { podsCommand } from '../../src/commands/pods.ts';
import { serveCommand } from '../../src/commands/serve.ts';
import { sessionsCommand } from '../../src/commands/sessions.ts';
import { versionCommand } from '../../src/commands/version.ts';
import { blocksOf, codeSpansOf, documentPaths, readDocument } from '../support/document-commands.ts';

// What test/e2e/documents.test.ts cannot run: flags in the text of a document and in its tables.

const COMMANDS = new Map(
  [
    ...[serveCommand(), execCommand(), podsCommand(), sessionsCommand(), kubeconfigCommand(), doctorCommand()],
    healthCommand(),
    versionCommand(),
  ].map(command => [command.name(), flagsOf(command)]),
);
COMMANDS.set('execlet', ['--version']);
COMMANDS.set('help', []);
const OURS = new Set([...COMMANDS.values()].flat());

/** Flags of other programs that documents mention. */
const FOREIGN: Readonly<Record<string, readonly string[]>> = {
  docker: ['--build-arg', '--file', '--pid'],
  'kube-apiserver': ['--feature-gates', '--kubelet-client-certificate'],
  kubectl: ['--field-selector', '--kustomize', '--raw', '--selector'],
  npm: ['--silent'],
  node: ['--test', '--test-name-pattern', '--expose-gc'],
  'systemd-analyze': ['--offline'],
  tar: ['--to-command'],
  V8: ['--semi-space-growth-factor', '--minor-gc-task-trigger', '--max-semi-space-size'],
  'a program in an example': ['--password'],
  'a slip of the finger': ['--prot'],
};
/** What looks like a command of ours and is the beginning of a sentence. */
const SENTENCES = ['execlet serves exec only', 'execlet may not ask', 'execlet cannot read', 'execlet is stopping'];

function flagsOf(command: Command): string[] {
  const own = command.options.map(({ long }) => long ?? '');
  return [...own, ...command.commands.flatMap(flagsOf), '--help'];
}

/** Flags of our npm scripts, as they hand them to parseArgs. */
const SCRIPTS = ['bench', 'demo', 'fuzz', 'soak'].flatMap(name =>
  [...readDocument(`scripts/${name}.ts`).matchAll(/\b'?([\w-]+)'?: \{ type: '/g)].map(([, flag = '']) => `--${flag}`),
);

const known = new Set([...OURS, ...SCRIPTS, ...Object.values(FOREIGN).flat()]);

for (const path of documentPaths()) {
  test(`every flag that ${path} mentions exists`, () => {
    const wrong: string[] = [];
    for (const span of codeSpansOf(readDocument(path))) {
      if (SENTENCES.some(sentence => span.startsWith(sentence))) continue;
      const flags = span.match(/(?<![\w-])--[a-z][\w-]*/g) ?? [];
      const [, name = ''] = /^(?:npx )?execlet ([a-z]+)/.exec(span) ?? [];
      const flagsHere = name === '' ? undefined : COMMANDS.get(name);
      if (name !== '' && flagsHere === undefined) wrong.push(`${span}: there is no execlet ${name}`);
      const [ours = ''] = span.split(' -- ');
      for (const flag of flags) {
        if (flagsHere !== undefined && ours.includes(flag) && !flagsHere.includes(flag)) wrong.push(`${span}: ${flag}`);
        else if (!known.has(flag) && !flag.endsWith('-')) wrong.push(`${span}: ${flag}`);
      }
    }
    assert.deepEqual(wrong, []);
  });
}

test('a block becomes the commands that a reader would type, with their output where it is shown', () => {
  const text = [
    '```sh',
    '# a comment',
    'one --flag   # what it does',
    'two "# not a comment" \\',
    "  --more 'a # b'",
    "cat >file <<'END'",
    '# kept',
    'END',
    '```',
    '```text',
    'shown',
    '```',
    '```console',
    '$ three',
    'out',
    'put',
    '$ four',
    '```',
  ].join('\n');
  const found = blocksOf('x.md', text).map(({ line, commands }) => ({ line, commands }));
  assert.deepEqual(found, [
    {
      line: 1,
      commands: [
        { text: 'one --flag' },
        { text: `two "# not a comment" \\\n  --more 'a # b'` },
        { text: "cat >file <<'END'\n# kept\nEND" },
      ],
    },
    {
      line: 13,
      commands: [
        { text: 'three', output: 'out\nput\n' },
        { text: 'four', output: '' },
      ],
    },
  ]);
  assert.deepEqual(codeSpansOf(`${text}\n\nuse \`a\nb\` and \`\`c\`\`\n`), ['a b', 'c']);
});

test('a command that goes on behind its block is refused', () => {
  assert.throws(() => blocksOf('x.md', '```sh\none \\\n```\n'), /does not end with its block/);
});
