import { Option, type Command } from 'commander';

/** kubectl's connection flags, under the names that commander gives them. */
export interface ConnectionFlags {
  readonly server?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly token?: string;
  readonly certificateAuthority?: string;
  readonly clientCertificate?: string;
  readonly clientKey?: string;
  readonly insecureSkipTlsVerify?: boolean;
  readonly tlsServerName?: string;
}

/** Adds the flags of `ConnectionFlags` to a command that talks to a daemon. */
export function addConnectionFlags(command: Command): Command {
  return command
    .option('-s, --server <URL>', 'address of the daemon (default: the daemon on this host, 127.0.0.1:10350)')
    .option(
      '--kubeconfig <FILE>',
      'kubeconfig to take server and credentials from (default: $KUBECONFIG, where it is set)',
    )
    .option('--context <NAME>', 'context of the kubeconfig to use (default: its current-context)')
    .addOption(new Option('--token <TOKEN>', 'bearer token'))
    .option('--certificate-authority <FILE>', 'CA certificates (PEM) that the server must be vouched for by')
    .option('--client-certificate <FILE>', 'certificate (PEM) to identify with')
    .option('--client-key <FILE>', 'private key (PEM) of the client certificate')
    .option(
      '--insecure-skip-tls-verify',
      'do not check whom we talk to: anybody in between reads and changes everything',
    )
    .option(
      '--tls-server-name <NAME>',
      'name that the certificate of the server must carry, where it is not its address',
    );
}
