/** One block of commands, and how it is played. */
export interface Played {
  /** The first line of its first command. */
  readonly block: string;
  /** Commands of it that are not run here: the npm script, the test or the other document that runs them. */
  readonly elsewhere?: Readonly<Record<string, string>>;
  /** Exit codes other than 0, by the beginning of the command. */
  readonly exits?: Readonly<Record<string, number>>;
  /** It is one script, with loops or functions, and not a command a line. */
  readonly script?: boolean;
  /** What earlier blocks have left running is ended first, where the document says so. */
  readonly afterStop?: boolean;
}

/** One document, and the host on which its commands are run. */
export interface PlayedDocument {
  /** Below the home directory; `execlet` is the checkout. */
  readonly directory?: string;
  /** Files that it takes to be there. */
  readonly files?: Readonly<Record<string, string>>;
  /** Commands that have been run before, such as a daemon that is there already. */
  readonly first?: readonly string[];
  /** It takes a cluster to be there, which kubectl finds. */
  readonly cluster?: boolean;
  /** What the reader puts for a word; after `$ `, the command that prints it. */
  readonly words?: Readonly<Record<string, string>>;
  readonly blocks: readonly Played[];
}

const SERVE = 'execlet serve --naming-schemes compose,plain';
const WEB = 'docker run --detach --name web busybox sleep 1d';
const SESSION_ID = `$ timeout 60 sh -c 'kubectl --server http://127.0.0.1:10350 exec -i web -- sleep 30 >/dev/null 2>&1 &'
until execlet sessions -o json | grep -q '"id"'; do sleep 0.1; done
execlet sessions -o json | sed -n 's/.*"id": *"\\([^"]*\\)".*/\\1/p' | head -1`;
const RULES_CONFIG = [
  'namingSchemes: [compose, plain]',
  'tokenAuthFile: /etc/execlet/tokens.csv',
  'authorizationMode: Rules',
  'authorizationRulesFile: /etc/execlet/rules.yaml',
].join('\n');

/** Every document with commands. A new block is a line here; the test fails until it has one. */
export const DOCUMENTS: Readonly<Record<string, PlayedDocument>> = {
  'CONTRIBUTING.md': {
    directory: 'execlet',
    blocks: [
      {
        block: 'npm run --silent execlet -- serve --help',
        elsewhere: {
          'npm run lint': 'npm test',
          'npm run format': 'npm run format',
          'npm run build': 'test/e2e/package.test.ts',
        },
      },
    ],
  },
  'README.md': {
    directory: 'execlet',
    words: { '0b7f2a52': SESSION_ID },
    blocks: [
      { block: 'npm run demo', elsewhere: { 'npm test': 'npm test' } },
      { block: 'npm ci' },
      { block: 'docker run --detach --name web busybox sleep 1d' },
      { block: 'npm run --silent execlet -- pods' },
      { block: 'execlet doctor --naming-schemes compose,plain' },
    ],
  },
  'docs/access.md': {
    files: {
      '/etc/execlet/execlet.yaml': RULES_CONFIG,
      '/etc/execlet/tokens.csv': 'the-token,alice,1,ops',
      '/etc/execlet/rules.yaml': 'rules: [{ groups: [ops], verbs: [exec] }]',
    },
    first: [WEB],
    words: { HOST: '127.0.0.1' },
    blocks: [
      { block: 'umask 077' },
      {
        block:
          'execlet kubeconfig --server https://HOST:10350 --certificate-authority pki/execlet.crt --token "$(cut -d, -f1 tokens.csv)" > alice.yaml',
      },
      {
        block: 'execlet doctor --config /etc/execlet/execlet.yaml --as alice exec default/web -c web',
      },
    ],
  },
  'docs/authorization-rules.md': {
    files: {
      '/etc/execlet/execlet.yaml': RULES_CONFIG,
      '/etc/execlet/tokens.csv': 'the-token,alice,1,support',
      '/etc/execlet/rules.yaml': [
        'rules:',
        '  - { groups: [support], namespaces: [shop], containers: [app], verbs: [exec, get] }',
        '  - { groups: [support], namespaces: [shop], verbs: [list] }',
      ].join('\n'),
    },
    blocks: [
      {
        block: 'execlet doctor --config /etc/execlet/execlet.yaml --as alice exec shop/web-1 -c db -- ls',
        exits: { 'execlet doctor': 1 },
      },
    ],
  },
  'docs/kubernetes.md': {
    directory: 'execlet',
    cluster: true,
    files: { 'ca.crt': 'a certificate' },
    words: { NODE: 'node-1', NAMESPACE: 'kube-system', PROXY: 'proxy' },
    blocks: [
      { block: 'npm run image', elsewhere: { 'npm run image': 'test/e2e/image/image.test.ts' } },
      { block: 'mkdir my-execlet' },
      {
        block:
          'kubectl create clusterrolebinding execlet-proxy --clusterrole=execlet-proxy --serviceaccount=NAMESPACE:PROXY',
      },
      { block: 'kubectl label node NODE container-runtime=docker' },
      { block: 'kubectl apply --filename deploy/base/namespace.yaml' },
    ],
  },
  'docs/performance.md': {
    directory: 'execlet',
    blocks: [
      {
        block: 'npm run bench',
        elsewhere: {
          'npm run bench': 'test/e2e/bench.test.ts',
          'npm run bench -- --engine stand-in --only stdout': 'test/e2e/bench.test.ts',
          'npm run bench -- --quick': 'test/e2e/bench.test.ts',
          'npm run bench -- --json > bench.json': 'test/e2e/bench.test.ts',
          'npm run bench -- --rounds 9': 'test/e2e/bench.test.ts',
        },
      },
    ],
  },
  'docs/plain-docker.md': {
    directory: 'execlet',
    blocks: [
      { block: 'npm ci', elsewhere: { 'npm ci': 'README.md' } },
      {
        block: 'docker compose --file deploy/compose.yaml up --detach',
        elsewhere: {
          'docker compose --file deploy/compose.yaml up --detach': 'test/e2e/image/compose.ts',
          'docker compose --file deploy/compose.yaml logs': 'test/e2e/image/compose.ts',
        },
      },
      { block: 'mkdir shop' },
      { block: 'kubectl --server http://127.0.0.1:10350 get pods --all-namespaces' },
      {
        block:
          'npm run --silent execlet -- kubeconfig --server http://127.0.0.1:10350 --namespace shop > execlet.kubeconfig',
      },
      { block: 'npm install --global "./$(npm pack --silent)"', afterStop: true },
      { block: 'systemctl status --no-pager execlet' },
    ],
  },
  'docs/sessions.md': {
    first: [WEB, `${SERVE} --kill-grace-period 500ms`],
    words: { '0b7f2a52': SESSION_ID },
    blocks: [{ block: 'execlet sessions' }],
  },
  'docs/soak.md': {
    directory: 'execlet',
    blocks: [
      {
        block: 'npm run soak',
        elsewhere: {
          'npm run soak': 'test/e2e/soak.test.ts',
          'npm run soak -- 60 --concurrency 16': 'test/e2e/soak.test.ts',
          'npm run soak -- 5 --seed 1 --json': 'test/e2e/soak.test.ts',
          'npm run soak -- 1 --seed 1 --session 77': 'test/e2e/soak.test.ts',
        },
      },
    ],
  },
  'docs/troubleshooting.md': {
    blocks: [{ block: 'execlet doctor' }],
  },
  'examples/apiserver-proxy/README.md': {
    directory: 'execlet',
    first: [WEB],
    blocks: [
      { block: 'mkdir -p .cache/proxy', script: true },
      { block: "cat > .cache/proxy/rules.yaml <<'END'" },
      {
        block:
          'npm run --silent execlet -- serve --config .cache/proxy/node.yaml --port 10351 --node-name node-1 --naming-schemes compose &',
      },
      {
        block:
          'npm run --silent execlet -- kubeconfig --server https://127.0.0.1:6443 --certificate-authority .cache/proxy/servers.crt \\',
      },
    ],
  },
};
