import { nameContainer, type NameableContainer, type NamingScheme } from '../docker/naming-schemes.ts';
import { counted, note, ok, problem, type Finding } from './check.ts';

const ALL_SCHEMES: readonly NamingScheme[] = ['kubernetes', 'compose', 'plain'];
/** Of containers that are not served, so that the line can be read. */
const MAX_NAMES = 5;

/** Which of the containers that run are served under the naming schemes, and which schemes would name the others. */
export function checkContainers(
  running: readonly NameableContainer[],
  schemes: readonly NamingScheme[],
): readonly Finding[] {
  // A pod's sandbox has no name under any scheme, and needs none.
  const nameable = running.filter(container => nameContainer(container, ALL_SCHEMES) !== undefined);
  if (nameable.length === 0) return [note('no container runs that could be served: start one, and ask again')];
  const unnamed = nameable.filter(container => nameContainer(container, schemes) === undefined);
  const configured = `--naming-schemes ${schemes.join(',')}`;
  const named = `${configured} names ${nameable.length - unnamed.length} of ${counted(nameable.length, 'running container')}`;
  if (unnamed.length === 0) return [ok(named)];
  const missing = ALL_SCHEMES.filter(
    scheme => !schemes.includes(scheme) && unnamed.some(container => nameContainer(container, [scheme]) !== undefined),
  );
  const none = unnamed.length === nameable.length;
  const cure = `--naming-schemes ${[...(none ? [] : schemes), ...missing].join(',')} would`;
  if (none) return [problem(`${named}, so none can be reached: ${cure} name them`)];
  const names = unnamed.slice(0, MAX_NAMES).map(({ engineName }) => engineName);
  const more = unnamed.length > MAX_NAMES ? ` and ${counted(unnamed.length - MAX_NAMES, 'other')}` : '';
  return [note(`${named}, and not ${names.join(', ')}${more}: ${cure} name these too`)];
}
