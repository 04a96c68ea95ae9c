import { join } from 'node:path';

/** Where the daemon keeps the certificate that it makes for itself, unless another directory is named. */
export const DEFAULT_CERT_DIR = '/var/lib/execlet/pki';

/** The two files of such a directory. Clients may trust `certFile`; `keyFile` is the daemon's alone. */
export function filesOfCertDir(certDir: string): { certFile: string; keyFile: string } {
  return { certFile: join(certDir, 'execlet.crt'), keyFile: join(certDir, 'execlet.key') };
}
