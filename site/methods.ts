// A page for each method of the survey's map, made from the docstring of what is exported for it.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { entryFiles, programOf } from '../scripts/api.js';
import type { Coverage, CoverageRow } from '../scripts/coverage.js';
import { placeOf, type SitePage } from './pages.js';

/** An option of a method: how it is given, and what its declaration says. */
interface MethodOption {
  readonly name: string;
  readonly type: string;
  readonly isOptional: boolean;
  readonly text: string;
}

/** What the sources say about an export. */
interface Declared {
  readonly entry: string;
  readonly text: string;
  readonly throws: readonly string[];
  readonly signature: string | undefined;
  readonly options: readonly MethodOption[];
  /** The file of its declaration, relative to the root. */
  readonly file: string | undefined;
}

/** All pages of methods with their index. `files`: those of the repository, in which examples are looked for. */
export function methodPages(root: string, coverage: Coverage, files: readonly string[]): SitePage[] {
  const sources = new Sources(root);
  const examples = files
    .filter(
      (file) =>
        /^(examples|scripts\/proofs)\/.*\.m?ts$|^scripts\/proofs\/.*\.mjs$/.test(file) && !/\.test\.ts$/.test(file),
    )
    .map((file) => ({ file, words: new Set(readFileSync(join(root, file), 'utf8').match(/[A-Za-z_$][\w$]*/g)) }));
  const pages = coverage.methods.map((row) => {
    const declared = sources.find(row);
    const last = row.export?.split('.').at(-1);
    const used = examples.filter(({ words }) => last !== undefined && words.has(last)).map(({ file }) => file);
    return {
      path: `methods/${row.id.toLowerCase()}.md`,
      title: `${row.id} ${row.name}`,
      text: methodPage(row, coverage, declared, goldensOf(root, row.test, files), used),
    };
  });
  return [indexPage(coverage), ...pages];
}

function indexPage({ sections, methods }: Coverage): SitePage {
  const parts = Object.entries(sections).map(([letter, title]) => {
    const rows = methods
      .filter(({ id }) => id.startsWith(letter))
      .map(
        ({ id, name, status }) =>
          `- [${id} ${bracketed(name)}](/methods/${id.toLowerCase()})${status === 'implemented' ? '' : ` (${status})`}`,
      );
    return [`## ${letter}. ${title}`, '', ...rows].join('\n');
  });
  const text = ['# Methods', 'A page for each method, made from the docstring of what implements it.', ...parts].join(
    '\n\n',
  );
  return { path: 'methods/index.md', title: 'Methods', text: `${text}\n` };
}

function methodPage(
  row: CoverageRow,
  { sections }: Coverage,
  declared: Declared | undefined,
  goldens: readonly string[],
  examples: readonly string[],
): string {
  const parts = [`# ${row.name}`];
  const where = declared
    ? `\`${row.export}\` of \`${declared.entry}\``
    : row.page
      ? `[a page](/${placeOf(row.page)!.replace(/\.md$/, '')})`
      : 'nothing is exported for it';
  parts.push(`${row.id}, ${sections[row.id.slice(0, 1)]}. **${row.status}**: ${where}.`);
  if (declared) {
    if (declared.text !== '') parts.push(paragraphs(declared.text));
    if (declared.signature !== undefined) parts.push(`\`\`\`ts\n${declared.signature}\n\`\`\``);
    if (declared.throws.length > 0) parts.push(...declared.throws.map((text) => `Throws ${paragraphs(text)}.`));
    if (declared.options.length > 0) parts.push('## Options', optionsTable(declared.options));
  }
  const papers = papersOf(`${row.name} ${declared?.text ?? ''} ${row.note ?? ''}`);
  if (papers.length > 0)
    parts.push('## Papers', papers.map((id) => `- [arXiv ${id}](https://arxiv.org/abs/${id})`).join('\n'));
  parts.push('## How it is known to be right', ...checks(row, goldens));
  if (examples.length > 0) {
    const shown = examples.slice(0, 8).map((file) => `- \`${file}\``);
    const more = examples.length > 8 ? [`- and ${examples.length - 8} more`] : [];
    parts.push('## Used in', [...shown, ...more].join('\n'));
  }
  if (declared?.file) parts.push(`Source: \`${declared.file}\`.`);
  return `${parts.join('\n\n')}\n`;
}

function checks(row: CoverageRow, goldens: readonly string[]): string[] {
  const parts = [];
  if (row.note) parts.push(`${paragraphs(row.note)}.`);
  if (row.test) parts.push(`Test: \`${row.test}\`.`);
  if (goldens.length > 0)
    parts.push(
      `Golden values that the test reads, each beside the script that made it: ${goldens.map((name) => `\`${name}\``).join(', ')}.`,
    );
  return parts.length > 0 ? parts : ['Nothing is there to check.'];
}

function optionsTable(options: readonly MethodOption[]): string {
  const rows = options.map(
    ({ name, type, isOptional, text }) =>
      `| \`${name}\`${isOptional ? '' : ' (required)'} | \`${cell(type)}\` | ${cell(text)} |`,
  );
  return ['| option | type | what it is |', '| --- | --- | --- |', ...rows].join('\n');
}

const cell = (text: string): string => text.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|');
const bracketed = (text: string): string => text.replaceAll('[', '\\[').replaceAll(']', '\\]');

/** Docstrings are text: what is indented is a formula or a list of its own, and underscores and stars stand for themselves. */
const paragraphs = (text: string): string =>
  text
    .trim()
    .split(/\n\s*\n/)
    .map((part) => {
      if (/^ {2,}\S/m.test(part) && !/^\s*[-*|] /m.test(part)) return `\`\`\`text\n${part}\n\`\`\``;
      return part.replaceAll(/(`[^`]*`)|([*_<[\]])/g, (_, code?: string, sign?: string) => code ?? `\\${sign}`);
    })
    .join('\n\n');

/** The arXiv numbers in a text, in their order, each once. */
export const papersOf = (text: string): string[] => [...new Set(text.match(/\b\d{4}\.\d{4,5}\b/g) ?? [])];

/**
 * Golden values that a test names where it reads them: folders of `goldens/`, and files by their names, those beside the test
 * before others. `files`: those of the repository.
 */
export function goldensOf(root: string, test: string | undefined, files: readonly string[]): string[] {
  if (test === undefined || !existsSync(join(root, test))) return [];
  const text = readFileSync(join(root, test), 'utf8');
  const folders = new Set(files.flatMap((file) => /^goldens\/([^/]+)\//.exec(file)?.[1] ?? []));
  const named = [...text.matchAll(/goldens?\w*['"]?(?:\(|\/|,\s*)\s*['"]?([a-z0-9-]+)/gi)].map(([, name]) => name!);
  const inFolders = named.filter((name) => folders.has(name)).map((name) => `goldens/${name}`);
  const goldens = files.filter((file) => /(^|\/)goldens\//.test(file));
  const beside = test.slice(0, test.indexOf('/test/') + 1);
  const inFiles = [...text.matchAll(/['"`]([\w./-]+\.(?:json|jsonl|safetensors))['"`]/g)].flatMap(([, name]) => {
    const found = goldens.filter((file) => file.endsWith(`/${name}`));
    return found.find((file) => file.startsWith(beside)) ?? (found.length === 1 ? found : []);
  });
  return [...new Set([...inFolders, ...inFiles])].sort();
}

/** The sources of all packages as TypeScript reads them. */
class Sources {
  readonly #checker: ts.TypeChecker;
  readonly #modules: readonly { readonly entry: string; readonly exports: ReadonlyMap<string, ts.Symbol> }[];

  constructor(readonly root: string) {
    const program = programOf(root);
    this.#checker = program.getTypeChecker();
    this.#modules = entryFiles(root).map(({ entry, file }) => {
      const module = this.#checker.getSymbolAtLocation(program.getSourceFile(file)!);
      const exported = module ? this.#checker.getExportsOfModule(module) : [];
      return { entry, exports: new Map(exported.map((symbol) => [symbol.name, symbol])) };
    });
  }

  /** What the package of a row exports for it; undefined where nothing is. */
  find(row: CoverageRow): Declared | undefined {
    if (row.export === undefined) return undefined;
    const [name, ...members] = row.export.split('.');
    const own = (entry: string) =>
      entry === `@posttrain/${row.package}` || entry.startsWith(`@posttrain/${row.package}/`);
    const found = this.#modules.find(({ entry, exports }) => own(entry) && exports.has(name!));
    if (!found) return undefined;
    const symbol = members.reduce<ts.Symbol | undefined>(
      (holder, member) => holder && this.#member(holder, member),
      this.#resolved(found.exports.get(name!)!),
    );
    return symbol && this.#declared(symbol, found.entry);
  }

  #resolved(symbol: ts.Symbol): ts.Symbol {
    return symbol.flags & ts.SymbolFlags.Alias ? this.#checker.getAliasedSymbol(symbol) : symbol;
  }

  /** A property of an object, followed to what it was made from: `{ grpo }` and `{ grpo: makeGrpo }`. */
  #member(holder: ts.Symbol, name: string): ts.Symbol | undefined {
    const property = this.#checker.getTypeOfSymbol(holder).getProperty(name);
    const declaration = property?.valueDeclaration;
    if (declaration && ts.isShorthandPropertyAssignment(declaration)) {
      const value = this.#checker.getShorthandAssignmentValueSymbol(declaration);
      return value && this.#resolved(value);
    }
    if (declaration && ts.isPropertyAssignment(declaration) && ts.isIdentifier(declaration.initializer)) {
      const value = this.#checker.getSymbolAtLocation(declaration.initializer);
      if (value && this.#docsOf(property!) === '') return this.#resolved(value);
    }
    return property;
  }

  #docsOf(symbol: ts.Symbol): string {
    return ts.displayPartsToString(symbol.getDocumentationComment(this.#checker));
  }

  #declared(symbol: ts.Symbol, entry: string): Declared {
    const [declaration] = symbol.declarations ?? [];
    const throws = symbol
      .getJsDocTags(this.#checker)
      .filter(({ name }) => name === 'throws')
      .map(({ text }) => ts.displayPartsToString(text));
    const signature =
      symbol.flags & ts.SymbolFlags.Value ? this.#checker.getTypeOfSymbol(symbol).getCallSignatures()[0] : undefined;
    return {
      entry,
      throws,
      text: this.#docsOf(symbol),
      signature: signature && this.#signatureText(symbol.name, signature),
      options: signature ? this.#optionsOf(signature, declaration) : [],
      file: declaration?.getSourceFile().fileName.slice(this.root.length + 1),
    };
  }

  #signatureText(name: string, signature: ts.Signature): string {
    const text = this.#checker.signatureToString(signature, undefined, ts.TypeFormatFlags.NoTruncation);
    return text.length > 600
      ? `${name}(${signature.parameters.map((parameter) => parameter.name).join(', ')})`
      : name + text;
  }

  /** The properties of what is given as options: the last parameter that is an object of named values with declarations here. */
  #optionsOf(signature: ts.Signature, at: ts.Declaration | undefined): MethodOption[] {
    const parameter = signature.parameters.findLast(
      ({ name }) => /^(given|options|settings|config)$/i.test(name) || /options$/i.test(name),
    );
    if (!parameter || !at) return [];
    const type = this.#checker.getNonNullableType(this.#checker.getTypeOfSymbolAtLocation(parameter, at));
    return this.#checker.getPropertiesOfType(type).map((property) => ({
      name: property.name,
      type: this.#checker.typeToString(
        this.#checker.getNonNullableType(this.#checker.getTypeOfSymbolAtLocation(property, at)),
        undefined,
        ts.TypeFormatFlags.UseAliasDefinedOutsideCurrentScope,
      ),
      isOptional: (property.flags & ts.SymbolFlags.Optional) !== 0,
      text: this.#docsOf(property),
    }));
  }
}
