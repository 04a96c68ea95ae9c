/** One upgrade request and its answer. Every handshake is asked for over plain HTTP and over TLS. */
export interface Handshake {
  readonly items: readonly number[];
  readonly title: string;
  readonly transport: 'spdy' | 'websocket';
  /** The versions as the headers list them, one header for each entry. */
  readonly versions: readonly string[];
  /** An exec of `true` with stdout, in the kubelet's form, unless given. */
  readonly target?: string;
  readonly status: number;
  /** The version that the 101 names, once; or none, for the empty list. */
  readonly chosen?: readonly string[];
  /** The body of a refusal. */
  readonly body?: string | RegExp;
  /** The versions that a refusal lists. */
  readonly accepted?: readonly string[];
}

const TRANSPORTS = ['spdy', 'websocket'] as const;
const V4 = 'v4.channel.k8s.io';
const SPDY_VERSIONS = [V4, 'v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io'];

/** The combinations of the three streams, by the kubelet's names for them. */
const STREAMS = [
  'input=1',
  'output=1',
  'error=1',
  'input=1&output=1',
  'input=1&error=1',
  'output=1&error=1',
  'input=1&output=1&error=1',
];
const PATHS = { name: '/exec/default/web/app', 'name and UID': '/exec/default/known/0b5c4e1e-uid/app' };

const negotiated: readonly Handshake[] = [
  {
    items: [22],
    title: 'the first version of the client that is served',
    transport: 'spdy',
    versions: ['v5.channel.k8s.io', ...SPDY_VERSIONS],
    status: 101,
    chosen: [V4],
  },
  {
    items: [22],
    title: "the client's order wins",
    transport: 'spdy',
    versions: ['v2.channel.k8s.io', V4],
    status: 101,
    chosen: ['v2.channel.k8s.io'],
  },
  {
    items: [22],
    title: 'a comma-separated list',
    transport: 'spdy',
    versions: ['v9.channel.k8s.io,v3.channel.k8s.io', V4],
    status: 101,
    chosen: ['v3.channel.k8s.io'],
  },
  {
    items: [22],
    title: 'no version',
    transport: 'spdy',
    versions: [],
    status: 400,
    body: 'unable to upgrade: X-Stream-Protocol-Version is required',
  },
  {
    items: [22, 29],
    title: 'no version in common',
    transport: 'spdy',
    versions: ['v8.channel.k8s.io', 'v9.channel.k8s.io'],
    status: 403,
    body: /^unable to upgrade: unable to negotiate protocol: client supports \[v8\.channel\.k8s\.io v9\.channel\.k8s\.io\], server accepts \[v4/,
    accepted: SPDY_VERSIONS,
  },
  {
    items: [22],
    title: "the client's order wins",
    transport: 'websocket',
    versions: ['base64.channel.k8s.io', 'v5.channel.k8s.io'],
    status: 101,
    chosen: ['base64.channel.k8s.io'],
  },
  {
    items: [22],
    title: 'the first of a comma-separated list that is served',
    transport: 'websocket',
    versions: ['v2.channel.k8s.io, v5.channel.k8s.io, v4.channel.k8s.io'],
    status: 101,
    chosen: ['v5.channel.k8s.io'],
  },
  {
    items: [22],
    title: 'no subprotocol is the first version, and the answer names none',
    transport: 'websocket',
    versions: [],
    status: 101,
    chosen: [],
  },
  {
    items: [28],
    title: 'no subprotocol in common',
    transport: 'websocket',
    versions: ['v2.channel.k8s.io', 'v3.channel.k8s.io'],
    status: 403,
    body: '',
  },
];

const combined: readonly Handshake[] = TRANSPORTS.flatMap(transport =>
  Object.entries(PATHS).flatMap(([by, path]) => [
    {
      items: [12],
      title: `no stream asked for, by ${by}`,
      transport,
      versions: [V4],
      target: `${path}?command=true`,
      status: 400,
      body: 'you must specify at least 1 of stdin, stdout, stderr',
    },
    ...STREAMS.map(streams => ({
      items: [12],
      title: `${streams}, by ${by}`,
      transport,
      versions: [V4],
      target: `${path}?command=true&${streams}`,
      status: 101,
      chosen: [V4],
    })),
  ]),
);

const refused: readonly Handshake[] = TRANSPORTS.flatMap(transport => [
  {
    items: [29],
    title: 'a pod that is not there, as text',
    transport,
    versions: [V4],
    target: '/exec/default/nobody/app?command=true&output=1',
    status: 404,
    body: 'pod does not exist',
  },
  {
    items: [29],
    title: 'a container that is not there, as text',
    transport,
    versions: [V4],
    target: '/exec/default/web/nobody?command=true&output=1',
    status: 404,
    body: 'container not found ("nobody")',
  },
  {
    items: [29],
    title: "a container that is not there, as a Status on the API server's form of the path",
    transport,
    versions: [V4],
    target: '/api/v1/namespaces/default/pods/web/exec?container=nobody&command=true&stdout=true',
    status: 404,
    body: /^\{.*"kind":"Status".*"message":"container not found \(\\"nobody\\"\)".*\}$/,
  },
  {
    items: [29],
    title: 'a path with a trailing slash is not redirected',
    transport,
    versions: [V4],
    target: '/exec/default/web/app/?command=true&output=1',
    status: 404,
  },
]);

export const HANDSHAKES: readonly Handshake[] = [...negotiated, ...combined, ...refused];
