import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { Callers, parseTokenFile } from './callers.ts';
import type { Node } from './nodes.ts';

const file = z.string().min(1);
/** The configuration file; README.md shows one. Paths are relative to its directory. */
const schema = z.strictObject({
  address: z.string().default('127.0.0.1'),
  port: z.int().min(0).max(65_535).default(6443),
  tlsCertFile: file,
  tlsPrivateKeyFile: file,
  /** Whose certificates callers may show. */
  clientCaFile: file,
  /** `token,user,uid,"group1,group2"`, as kube-apiserver's --token-auth-file. */
  tokenAuthFile: file.optional(),
  /** What the proxy shows to nodes: they know it by this certificate's common name. */
  proxyClientCertFile: file,
  proxyClientKeyFile: file,
  /** Who vouches for the nodes' own certificates. */
  nodeCaFile: file,
  nodes: z.array(z.strictObject({ name: z.string().min(1), url: z.url({ protocol: /^https$/ }) })).min(1),
});

export interface Config {
  readonly address: string;
  readonly port: number;
  readonly tls: { readonly cert: Buffer; readonly key: Buffer; readonly ca: Buffer };
  readonly callers: Callers;
  readonly nodes: readonly Node[];
}

/** Reads the configuration and every file that it names, once: a change takes a restart. */
export function readConfig(path: string): Config {
  const settings = schema.parse(parse(readFileSync(path, 'utf8')));
  const read = (name: string): Buffer => readFileSync(resolve(dirname(path), name));
  const tls = {
    ca: read(settings.nodeCaFile),
    cert: read(settings.proxyClientCertFile),
    key: read(settings.proxyClientKeyFile),
  };
  const { address, port, tokenAuthFile } = settings;
  return {
    address,
    port,
    tls: { cert: read(settings.tlsCertFile), key: read(settings.tlsPrivateKeyFile), ca: read(settings.clientCaFile) },
    callers: new Callers(tokenAuthFile === undefined ? [] : parseTokenFile(read(tokenAuthFile).toString())),
    nodes: settings.nodes.map(({ name, url }) => ({ name, url: new URL(url), tls })),
  };
}
