import { readFile } from 'node:fs/promises';
import { writeServerCertificate } from '../../support/certificates.ts';
import { temporaryDirectory } from '../../support/cleanup.ts';
import { serveWeb } from '../../support/served.ts';
import { describeConformance, PATIENT } from './suite.ts';

const { path: directory } = await temporaryDirectory('tls');
const { certFile, keyFile } = await writeServerCertificate(directory);
const ca = await readFile(certFile, 'utf8');
const served = serveWeb({ args: [...PATIENT, '--tls-cert-file', certFile, '--tls-private-key-file', keyFile] });

describeConformance({ served, over: ' over TLS', server: () => ({ port: served.daemon.port, form: 'kubelet', ca }) });
