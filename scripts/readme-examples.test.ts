import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import ts from 'typescript';
import { beforeAll, describe, expect, it } from 'vitest';
import { entryFiles, publicNames, renderApi, undocumented } from './api.js';
import { codeEntries, listPackages, root, sourceOf } from './workspace.js';

/** What the examples use without making it, by the type that their text says it has. An example may shadow a name. */
const given = `
import type { CausalLM } from '@posttrain/lm';
import type { Generator, OnProgress, Verifier } from '@posttrain/interfaces';
import type { LoraConfig, PeftAdapter, PeftMethod } from '@posttrain/peft';
import type { PolicyTrainingOptions, PromptRow } from '@posttrain/rl';
import type { Loss } from '@posttrain/training';

declare global {
  const model: CausalLM;
  const adapter: PeftAdapter;
  const start: PeftAdapter;
  const rows: { question: string; prompt: string; completion: string; answer: string }[];
  const generator: Generator;
  const base: Generator;
  const tuned: Generator;
  const verifier: Verifier;
  const onProgress: OnProgress;
  const everythingElse: Omit<PolicyTrainingOptions<PromptRow>, 'objective'>;
  const it: (name: string, body: () => Promise<void>) => void;
  const myMethod: PeftMethod<LoraConfig>;
  const myLoss: Loss;
}`;

/** A module that examples of engines import: what their reader is to write. */
const myEngine = `
import type { Engine } from '@posttrain/core-tensor';
export declare const myEngine: () => Engine;`;

/** Every \`\`\`ts block of a Markdown file, each a module at the line where it stands. */
function examplesOf(path: string): [path: string, source: string][] {
  const markdown = readFileSync(path, 'utf8');
  return [...markdown.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => {
    const line = markdown.slice(0, match.index).split('\n').length;
    return [path.replace(/\.md$/, `.${line}.ts`), `${'\n'.repeat(line)}${match[1]}\nexport {};\n`];
  });
}

/** A program of modules that exist in memory only, and of every entry point. */
function programOf(modules: ReadonlyMap<string, string>): ts.Program {
  const file = join(root, 'tsconfig.json');
  const config = ts.parseJsonConfigFileContent(ts.readConfigFile(file, ts.sys.readFile).config, ts.sys, root);
  const paths = listPackages().flatMap(({ folder, manifest }) =>
    codeEntries(manifest.exports).map((entry): [string, string[]] => {
      return [manifest.name + entry.slice(1), [join(folder, sourceOf(manifest.exports, entry))]];
    }),
  );
  const options: ts.CompilerOptions = { ...config.options, paths: Object.fromEntries(paths) };
  const disk = ts.createCompilerHost(options);
  const host: ts.CompilerHost = {
    ...disk,
    fileExists: (path) => modules.has(path) || disk.fileExists(path),
    readFile: (path) => modules.get(path) ?? disk.readFile(path),
    getSourceFile: (path, language, ...rest) => {
      const source = modules.get(path);
      return source === undefined
        ? disk.getSourceFile(path, language, ...rest)
        : ts.createSourceFile(path, source, language);
    },
  };
  return ts.createProgram([...modules.keys(), ...entryFiles(root).map(({ file }) => file)], options, host);
}

/** What TypeScript has to say about modules of a program, as `path:line message`. */
function problemsOf(program: ts.Program, modules: ReadonlyMap<string, string>): string[] {
  return [...modules.keys()].flatMap((path) => {
    const source = program.getSourceFile(path)!;
    const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    return found.map(({ start = 0, messageText }) => {
      const line = source.getLineAndCharacterOfPosition(start).line + 1;
      return `${relative(root, path)}:${line} ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    });
  });
}

describe('the TypeScript examples and the public names', () => {
  const readmes = [root, ...listPackages().map(({ folder }) => folder)].map((folder) => join(folder, 'README.md'));
  const pages = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md') && !file.startsWith('decisions'))
    .map((file) => join(root, 'docs', file));
  const examples = [...readmes, ...pages].flatMap(examplesOf);
  const wrong = join(root, 'WRONG.1.ts');
  const modules = new Map<string, string>([
    [join(root, 'given.ts'), given],
    [join(root, 'docs', 'my-engine.ts'), myEngine],
    [join(root, 'docs', 'core-tensor', 'my-engine.ts'), myEngine],
    ...examples,
    [wrong, "\nimport { adamw } from '@posttrain/core-tensor';\n"],
  ]);
  let program: ts.Program;
  beforeAll(() => {
    program = programOf(modules);
  });

  it('are in the README, in those of most packages and in pages of docs/', () => {
    expect(new Set(examples.map(([path]) => dirname(path))).size).toBeGreaterThanOrEqual(8);
  });

  it('typecheck, with the settings of this repository', () => {
    const problems = problemsOf(program, modules);
    const ofWrong = problems.filter((problem) => problem.startsWith('WRONG'));
    expect(ofWrong.join()).toMatch(/^WRONG\.1\.ts:2 .*no exported member.*adamw/);
    expect(problems.filter((problem) => !ofWrong.includes(problem))).toEqual([]);
  });

  it('have a docstring each, and docs/api.md is current (npm run api)', () => {
    const entries = publicNames(root, program);
    expect(undocumented(entries)).toEqual([]);
    expect(readFileSync(join(root, 'docs', 'api.md'), 'utf8')).toBe(renderApi(entries));
  });
});
