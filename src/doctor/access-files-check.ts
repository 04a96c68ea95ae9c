import { CertificateBundle } from '../access/certificate-bundle.ts';
import { parseRules } from '../access/rules.ts';
import { parseTokenFile } from '../access/token-file.ts';
import type { Settings } from '../config/schema.ts';
import { readBounded } from '../files/watched-file.ts';
import { checkValidity } from './certificate-check.ts';
import { counted, messageOf, note, ok, problem, type Finding } from './check.ts';
import { checkPrivate } from './file-check.ts';

const MAX_BYTES = 4 * 1024 * 1024;

type Files = Pick<
  Settings,
  'clientCaFile' | 'requestheaderClientCaFile' | 'tokenAuthFile' | 'authorizationRulesFile' | 'kubeconfig'
>;

type Findings = readonly (Finding | undefined)[];

/** The files that say who is who and who may what: what each holds, what of it is of no use, and who may read it. */
export async function checkAccessFiles(files: Files, now: Date): Promise<readonly Finding[]> {
  const { clientCaFile, requestheaderClientCaFile, tokenAuthFile, authorizationRulesFile, kubeconfig } = files;
  const checks: readonly [path: string | undefined, (path: string) => Promise<Findings>][] = [
    [clientCaFile, path => checkBundle('users', path, now)],
    [requestheaderClientCaFile, path => checkBundle('front proxies', path, now)],
    [tokenAuthFile, checkTokens],
    [authorizationRulesFile, checkRules],
    [kubeconfig, async path => [await checkPrivate('the kubeconfig', path)]],
  ];
  const checked = await Promise.all(
    checks.map(async ([path, look]) =>
      path === undefined ? [] : look(path).catch((cause: unknown) => unusable(path, cause)),
    ),
  );
  return checked.flat().filter(finding => finding !== undefined);
}

function unusable(path: string, cause: unknown): Findings {
  const why = messageOf(cause);
  return [problem(`${why.includes(path) ? '' : `${path} `}${why}: see the file, and the setting that names it`)];
}

async function checkBundle(whose: string, path: string, now: Date): Promise<readonly Finding[]> {
  const { authorities, problems } = new CertificateBundle(await readText(path));
  const unfit = authorities.flatMap(authority => {
    const name = authority.subject.split('\n').join(', ');
    return checkValidity(`the CA ${name} in ${path}`, authority, now) ?? [];
  });
  return [
    ok(`${path} holds ${counted(authorities.length, 'CA')} of ${whose}`),
    ...problems.map(text => problem(`${path}: ${text}`)),
    ...unfit,
  ];
}

async function checkTokens(path: string): Promise<Findings> {
  const tokens = parseTokenFile(await readText(path));
  const holds = `${path} holds ${counted(tokens.size, 'token')}`;
  return [
    tokens.size > 0 ? ok(holds) : note(`${holds}: nobody gets in by one; add lines of token,user,uid,"group1,group2"`),
    ...tokens.problems.map(text => problem(`${path}: ${text}`)),
    await checkPrivate('the token file', path),
  ];
}

async function checkRules(path: string): Promise<readonly Finding[]> {
  const rules = parseRules(await readText(path));
  const holds = `${path} holds ${counted(rules.size, 'rule')}`;
  return [
    rules.size > 0 ? ok(holds) : note(`${holds}: nobody may do anything; see docs/authorization-rules.md`),
    ...rules.problems.map(text => problem(`${path}: ${text}`)),
  ];
}

async function readText(path: string): Promise<string> {
  return (await readBounded(path, MAX_BYTES)).toString();
}
