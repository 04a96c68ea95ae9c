import { readFile } from 'node:fs/promises';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { CHECKOUT } from './checkout.ts';

/** A text that a user can meet, as it stands in the sources. */
export interface UserMessage {
  /** What is the same each time; between them stands what is not. */
  readonly pieces: readonly string[];
  /** Names of what stands between the pieces, where the source has one. */
  readonly holes: readonly string[];
  /** Of an ExecletError, where the source names one. */
  readonly code: string | undefined;
  /** `src/…:line`, where it is thrown, logged or returned. */
  readonly place: string;
}

/** Text with holes: strings are the same each time, an object is a hole. */
type Part = string | { readonly hole: string };
type Text = readonly Part[];

/** Errors that are made with a message, and which argument that is. */
const ERRORS: ReadonlyMap<string, number> = new Map([
  ['ExecletError', 1],
  ['ClientError', 0],
  ['SettingsError', 0],
  ['AccessFileError', 0],
  ['ReviewProblem', 0],
  ['SessionEnded', 1],
  ['Error', 0],
]);

/** Functions that make one of these, or that complain of a setting: where they are declared, and which argument is text. */
const CALLS: ReadonlyMap<string, number> = new Map([
  ['ClientError.usage', 0],
  ['context.addIssue', 0],
  ['log.error', 0],
  ['log.warn', 0],
  ['this.#options.log.warn', 0],
  ['protocolError', 0],
  ['refuse', 0],
  ['refusal', 1],
  ['this.#end', 0],
  ['this.#violated', 1],
  ['this.tell', 0],
  ['parsed', 0],
  ['tryTls', 0],
]);

/** Functions and tables whose strings become messages without one of the above beside them. */
const RETURNED: ReadonlySet<string> = new Set([
  'bindFailure',
  'problemOf',
  'problemsOf',
  'EXPLANATIONS',
  'engineProblem',
  'registryProblem',
  'stopProblem',
  'notServed',
  'forbiddenMessage',
  'describe',
  'yamlProblem',
  'parseYaml',
  'validityProblem',
]);
/** Properties of objects that say what is wrong. */
const PROPERTIES: ReadonlySet<string> = new Set(['problem', 'why', 'note']);
/** How complaints of a value begin, wherever they stand. */
const OF_A_VALUE = 'must ';

/** Every message in the sources that can reach a user. `without` names files whose errors nobody sees but their author. */
export async function userMessages(without: ReadonlySet<string>): Promise<readonly UserMessage[]> {
  const files = globSync('src/**/*.ts', { cwd: CHECKOUT }).sort();
  const found = await Promise.all(
    files
      .filter(file => !without.has(file))
      .map(async file => messagesOf(file, await readFile(join(CHECKOUT, file), 'utf8'))),
  );
  return found.flat();
}

/** The HTTP status of each failure code, from the table of src/errors.ts. */
export async function httpStatuses(): Promise<ReadonlyMap<string, number>> {
  const source = await readFile(join(CHECKOUT, 'src', 'errors.ts'), 'utf8');
  const found = [...source.matchAll(/^ {2}(\w+): \{ httpStatus: (\d+),/gm)];
  return new Map(found.map(([, code = '', status]) => [code, Number(status)]));
}

/** The same of one file's text. */
export function messagesOf(file: string, source: string): readonly UserMessage[] {
  const tree = ts.createSourceFile(file, source, ts.ScriptTarget.Latest, true);
  const messages: UserMessage[] = [];
  const add = (expression: ts.Node, code?: string): void => {
    const line = tree.getLineAndCharacterOfPosition(expression.getStart()).line + 1;
    for (const text of textsOf(expression, 0)) {
      const message = messageOf(text, { code, place: `${file}:${line}` });
      if (message !== undefined) messages.push(message);
    }
  };
  const visit = (node: ts.Node): void => {
    const at = argumentOf(node);
    if (at !== undefined) add(at, codeOf(node));
    else if (ts.isPropertyAssignment(node) && PROPERTIES.has(node.name.getText())) add(node.initializer);
    else if (isText(node) && headOf(node).startsWith(OF_A_VALUE)) add(node);
    if (
      (ts.isFunctionDeclaration(node) || ts.isVariableDeclaration(node)) &&
      RETURNED.has(node.name?.getText() ?? '')
    ) {
      for (const returned of stringsOf(node)) add(returned);
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return messages;
}

function argumentOf(node: ts.Node): ts.Expression | undefined {
  if (ts.isNewExpression(node)) return node.arguments?.[ERRORS.get(node.expression.getText()) ?? -1];
  if (ts.isCallExpression(node) && isWrittenToStderr(node)) return node.arguments[0];
  if (ts.isCallExpression(node)) return node.arguments[CALLS.get(node.expression.getText()) ?? -1];
  return undefined;
}

/** What a command tells beside its output, without failing for it: `print(text, stderr)`, `process.stderr.write(text)`. */
function isWrittenToStderr({ expression, arguments: [, stream] }: ts.CallExpression): boolean {
  const called = expression.getText();
  return called === 'process.stderr.write' || (called === 'print' && /\bstderr$/.test(stream?.getText() ?? ''));
}

function codeOf(node: ts.Node): string | undefined {
  const isFailure = ts.isNewExpression(node) && node.expression.getText() === 'ExecletError';
  const [first] = (isFailure ? node.arguments : undefined) ?? [];
  return first !== undefined && ts.isStringLiteral(first) ? first.text : undefined;
}

type TextNode = ts.StringLiteralLike | ts.TemplateExpression;

function isText(node: ts.Node): node is TextNode {
  return ts.isStringLiteralLike(node) || ts.isTemplateExpression(node);
}

function headOf(node: TextNode): string {
  return ts.isTemplateExpression(node) ? node.head.text : node.text;
}

/** What the name stands for where it is used, as far as that stands in the file; undefined for a parameter, or an import. */
function meaningOf(name: ts.Identifier): ts.Expression | undefined {
  for (let node: ts.Node = name.parent; !ts.isSourceFile(node); node = node.parent) {
    if (ts.isFunctionLike(node) && node.parameters.some(parameter => bindsName(parameter.name, name.text)))
      return undefined;
    const statements =
      ts.isBlock(node.parent) || ts.isSourceFile(node.parent) || ts.isCaseClause(node.parent)
        ? node.parent.statements
        : [];
    for (const statement of statements) {
      const declared = ts.isVariableStatement(statement) ? statement.declarationList.declarations : [];
      const found = declared.find(declaration => bindsName(declaration.name, name.text));
      if (found !== undefined) return ts.isIdentifier(found.name) ? found.initializer : undefined;
    }
  }
  return undefined;
}

function bindsName(binding: ts.BindingName, name: string): boolean {
  if (ts.isIdentifier(binding)) return binding.text === name;
  return binding.elements.some(element => ts.isBindingElement(element) && bindsName(element.name, name));
}

const MAX_DEPTH = 4;

/** All that the expression can be, as far as that stands in the file; else a hole. */
function textsOf(node: ts.Node, depth: number): readonly Text[] {
  const hole: readonly Text[] = [[{ hole: nameOf(node) }]];
  if (depth > MAX_DEPTH) return hole;
  const inner = (child: ts.Node): readonly Text[] => textsOf(child, depth + 1);
  if (ts.isStringLiteralLike(node)) return [[node.text]];
  if (ts.isParenthesizedExpression(node) || ts.isAsExpression(node)) return inner(node.expression);
  if (ts.isConditionalExpression(node)) return [...inner(node.whenTrue), ...inner(node.whenFalse)];
  if (ts.isTemplateExpression(node)) {
    return node.templateSpans.reduce<readonly Text[]>(
      (texts, { expression, literal }) => product(product(texts, spanOf(expression, inner)), [[literal.text]]),
      [[node.head.text]],
    );
  }
  if (ts.isBinaryExpression(node)) {
    if (node.operatorToken.kind === ts.SyntaxKind.PlusToken) return product(inner(node.left), inner(node.right));
    if (node.operatorToken.kind === ts.SyntaxKind.QuestionQuestionToken)
      return [...inner(node.left), ...inner(node.right)];
  }
  if (ts.isIdentifier(node)) {
    const stands = meaningOf(node);
    return stands === undefined ? hole : inner(stands);
  }
  return hole;
}

/** What is only one word of a sentence stays a hole: of its alternatives no reader needs a row each. */
function spanOf(expression: ts.Expression, inner: (child: ts.Node) => readonly Text[]): readonly Text[] {
  const texts = inner(expression);
  return texts.length === 1 && texts[0]?.every(part => typeof part === 'string') === true
    ? texts
    : [[{ hole: nameOf(expression) }]];
}

function product(left: readonly Text[], right: readonly Text[]): readonly Text[] {
  return left.flatMap(before => right.map(after => [...before, ...after]));
}

/** The strings that a function returns, or a table holds. */
function stringsOf(declaration: ts.Node): readonly ts.Node[] {
  const found: ts.Node[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isReturnStatement(node) && node.expression !== undefined) found.push(node.expression);
    else if (ts.isArrowFunction(node) && !ts.isBlock(node.body)) found.push(node.body);
    ts.forEachChild(node, visit); // a function in a function returns something too
  };
  visit(declaration);
  return found;
}

/** `${pod}` → POD, `${this.#options.flag}` → FLAG, a call → …. */
function nameOf(node: ts.Node): string {
  if (ts.isIdentifier(node)) return capitals(node.text);
  if (ts.isPropertyAccessExpression(node)) return capitals(node.name.text.replace('#', ''));
  if (ts.isNonNullExpression(node) || ts.isParenthesizedExpression(node)) return nameOf(node.expression);
  return '…';
}

function capitals(name: string): string {
  return name.replaceAll(/([a-z])([A-Z])/g, '$1_$2').toUpperCase();
}

function messageOf(text: Text, of: Pick<UserMessage, 'code' | 'place'>): UserMessage | undefined {
  const pieces: string[] = [];
  const holes: string[] = [];
  let piece = '';
  for (const part of text) {
    if (typeof part === 'string') piece += part;
    else {
      pieces.push(piece);
      holes.push(part.hole);
      piece = '';
    }
  }
  pieces.push(piece);
  // As a line of the terminal; everywhere else that is put around it where it is told.
  pieces[0] = pieces[0]?.replace(/^execlet: /, '') ?? '';
  pieces.push(pieces.pop()?.replace(/\n$/, '') ?? '');
  // Of what somebody else said nothing is ours to explain.
  return pieces.some(piece => /[A-Za-z]{3}/.test(piece)) ? { pieces, holes, ...of } : undefined;
}
