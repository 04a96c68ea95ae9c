import eslint from '@eslint/js';
import tseslint from 'typescript-eslint';

// Who may import whom (arrows point towards what changes least), and who owns which package. A folder that is missing
// here may import nothing of ours but the leaves; main.ts and daemon.ts see everything.
const leaves = ['errors', 'garbage', 'human-duration', 'log', 'metrics', 'node-http', 'tick-cork', 'version', 'within'];
const mayImport = {
  spdy: [],
  access: [],
  files: [],
  exec: ['access', 'files'],
  config: ['access', 'exec', 'files'],
  docker: ['exec'],
  remotecommand: ['spdy', 'exec'],
  kubeapi: ['exec'],
  server: ['remotecommand', 'kubeapi', 'access', 'exec', 'files'],
  client: ['remotecommand'],
  doctor: ['docker', 'server', 'access', 'config', 'files'],
  commands: ['daemon', 'client', 'config', 'access', 'files', 'docker', 'doctor'],
};
const owners = {
  dockerode: ['docker'],
  ws: ['remotecommand', 'client'],
  express: ['server', 'kubeapi'],
  pako: ['spdy'],
  zod: ['config', 'client', 'access'],
  '@kubernetes/client-node': ['access'],
};

const importRules = Object.entries(mayImport).map(([folder, others]) => ({
  files: [`src/${folder}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            regex: `^\\.\\./(?!(${[...leaves.map(leaf => `${leaf}\\.ts`), ...others.map(other => `${other}(/|\\.ts)`)].join('|')}))`,
            message: `src/${folder} may import from ${[...leaves, ...others].join(', ')} only (eslint.config.js).`,
          },
          ...Object.entries(owners)
            .filter(([, folders]) => !folders.includes(folder))
            .map(([name, folders]) => ({
              regex: `^${name}(/|$)`,
              message: `Only src/${folders.join(' and src/')} may import ${name}.`,
            })),
        ],
      },
    ],
  },
}));

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', '.cache/'] },
  eslint.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'Default exports hide who depends on whom.' },
        { selector: 'ExportAllDeclaration', message: 'export * hides who depends on whom.' },
      ],
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          name: 'node:http',
          allowTypeImports: true,
          message: 'Take values from src/node-http.ts, which says why, and types by `import type`.',
        },
      ],
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // node:test's test() returns a promise that its runner awaits.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', name: ['test', 'describe', 'it', 'suite'], package: 'node:test' },
          ],
        },
      ],
    },
  },
  {
    // winston declares its transports as interfaces, so no instance of one counts as its class.
    files: ['src/log.ts'],
    rules: { '@typescript-eslint/no-unsafe-class-instance-assignment': 'off' },
  },
  { files: ['**/*.mjs', '*.js'], languageOptions: { globals: { process: 'readonly', console: 'readonly' } } },
  {
    // Examples are for others to copy, so they stand on their own feet.
    files: ['examples/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: [{ regex: '^\\.\\./', message: 'An example may import its own files and packages only.' }] },
      ],
    },
  },
  ...importRules,
);
