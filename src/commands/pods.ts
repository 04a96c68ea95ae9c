import { Command, Option } from 'commander';
import { addConnectionFlags, type ConnectionFlags } from '../client/connection-flags.ts';
import { resolveConnection } from '../client/connection.ts';
import { print } from '../client/output.ts';
import { fetchPodList, fetchPodRows, formatPodTable } from '../client/pod-list.ts';
import { settle } from '../client/settle.ts';

interface PodsFlags extends ConnectionFlags {
  readonly namespace?: string;
  readonly output: 'json' | 'table' | 'name';
}

/** `execlet pods`: the pods that the daemon serves. */
export function podsCommand(): Command {
  const command = new Command('pods')
    .description('list the pods that the daemon serves')
    .option('-n, --namespace <NAMESPACE>', 'pods of this namespace only (default: all)')
    .addOption(
      new Option('-o, --output <FORMAT>', 'json is the PodList as the daemon sends it')
        .choices(['table', 'json', 'name'])
        .default('table'),
    );
  return addConnectionFlags(command).action((flags: PodsFlags) => settle(() => listPods(flags)));
}

async function listPods(flags: PodsFlags): Promise<number> {
  const connection = resolveConnection(flags, process.env);
  const { namespace, output } = flags;
  if (output === 'json') {
    await print(`${JSON.stringify(await fetchPodList(connection, namespace), null, 2)}\n`);
    return 0;
  }
  const pods = await fetchPodRows(connection, namespace);
  if (pods.length === 0) {
    await print(namespace === undefined ? 'No pods\n' : `No pods in namespace "${namespace}"\n`, process.stderr);
  } else {
    await print(output === 'name' ? pods.map(({ name }) => `pod/${name}\n`).join('') : formatPodTable(pods));
  }
  return 0;
}
