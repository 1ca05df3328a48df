// docs/tts/options.md: a table of options a strategy, from their declarations.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import '../packages/tts/src/index.js';
import { declaredStrategies, strategyShape } from '../packages/tts/src/search-options.js';
import { tableOf } from './option-docs.js';
import { root } from './workspace.js';

const TTS = 'packages/tts/src';
const SHARED = `${TTS}/search-options.ts`;

/** The files of the package that declare strategies, by the strategy's name. */
function strategyFiles(): Map<string, string> {
  const files = readdirSync(join(root, TTS), { recursive: true, encoding: 'utf8' }).filter((it) => it.endsWith('.ts'));
  return new Map(
    files.sort().flatMap((file) => {
      const path = `${TTS}/${file}`;
      if (path === SHARED) return [];
      const names = readFileSync(join(root, path), 'utf8').matchAll(/strategyOptions\(\s*'([\w-]+)'/g);
      return [...names].map(([, name]) => [name!, path] as const);
    }),
  );
}

/** A file behind all that it imports of its package: what it says itself is believed most. */
function withImports(path: string, seen = new Set<string>()): string[] {
  if (seen.has(path)) return [];
  seen.add(path);
  const imports = readFileSync(join(root, path), 'utf8').matchAll(/from '(\.[^']*)\.js'/g);
  const behind = [...imports].flatMap(([, to]) => withImports(join(dirname(path), `${to}.ts`), seen));
  return [...behind, path];
}

/** The function of a strategy: `best-of-n` is `bestOfN`. */
const functionOf = (strategy: string): string =>
  strategy.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());

/** docs/tts/options.md. */
export function renderStrategyOptions(): string {
  const files = strategyFiles();
  const sections = [...files].sort().map(([strategy, file]) => {
    const shape = declaredStrategies.get(strategy);
    if (!shape) throw new Error(`${file} declares ${strategy}, which nothing that is exported needs`);
    const own = Object.keys(shape).length > 0;
    const table = own ? tableOf({ shape, files: withImports(file) }, false) : 'None of its own.';
    return `## ${functionOf(strategy)}\n\n${table}`;
  });
  return `# Options of strategies

<!-- Rendered by scripts/render-option-docs.ts from the declarations in packages/tts/src. -->

Of [\`@posttrain/tts\`](../../packages/tts); what the strategies do is in [strategies](strategies.md). Every strategy takes the options of the
first table, and those under its name.

## Of all

${tableOf({ shape: strategyShape, files: [SHARED] }, false)}

${sections.join('\n\n')}
`;
}
