/**
 * A tree of 64 branches over a local model beside 64 separate calls: what forks of cached prefixes and common batches are worth.
 * Every branch has a prompt of `--prompt` tokens and `--tokens` of its own path. Random weights, and letters for tokens, so that
 * a text is the same tokens however it was made. Arms take turns; a ratio is the median over the turns of its time against the
 * first arm's in the same turn. Prompt tokens are those that were computed (`cachedPromptTokens` taken off).
 *
 * usage: npx tsx benchmarks/tree-search.ts [--model 10m] [--prompt 256] [--tokens 48] [--repetitions 3] [--threads 2]
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setEngine } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import type { Completion, Generator, Usage } from '@posttrain/interfaces';
import { CausalLM, LocalGenerator, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { Search, type SearchNode, strategyOptions } from '@posttrain/tts';
import { MODEL_CONFIGS, type ModelName } from './cases.js';
import { renderMarkdown } from './render.js';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: '10m' },
    prompt: { type: 'string', default: '256' },
    tokens: { type: 'string', default: '48' },
    repetitions: { type: 'string', default: '3' },
    threads: { type: 'string', default: '2' },
  },
});
const [promptTokens, pathTokens, repetitions] = [flags.prompt, flags.tokens, flags.repetitions].map(Number) as [
  number,
  number,
  number,
];
const BRANCHES = 64;
const LETTERS = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));

setEngine(onnxruntimeEngine({ threads: Number(flags.threads) }));
const generator = new LocalGenerator(await lettersModel(), { seed: 1 });

/** A prompt that begins like no other. */
let prompts = 0;
const freshPrompt = (): string => {
  const name = String(prompts++);
  return Array.from({ length: promptTokens }, (_, i) => name[i] ?? LETTERS[(i * 7 + prompts) % LETTERS.length]).join(
    '',
  );
};
const sampling = { temperature: 1, maxTokens: pathTokens, seed: 7 };
const call = async (prompt: string, n = 1, seed = 7): Promise<Completion[]> =>
  (await generator.generate([{ ...sampling, seed, prompt, n }]))[0]!;

const treeOptions = strategyOptions('tree', {});
/** Every node of a level has as many children; branches are the leaves. */
async function tree(widths: readonly number[]): Promise<Usage[]> {
  const usages: Usage[] = [];
  const counted: Generator = {
    name: generator.name,
    generate: async (requests) => {
      const lists = await generator.generate(requests);
      usages.push(...lists.flat().map(({ usage }) => usage));
      return lists;
    },
  };
  const options = { generator: counted, n: BRANCHES, sampling: { temperature: 1, seed: 7 } };
  const search = new Search(treeOptions, { prompt: freshPrompt() }, options);
  const maxTokens = pathTokens / widths.length;
  let level: readonly SearchNode[] = [search.root];
  for (const n of widths) {
    level = (await Promise.all(level.map((node) => search.expand(node, { n, maxTokens, stop: [] })))).flat();
  }
  return usages;
}

const arms: readonly (readonly [string, () => Promise<readonly Usage[]>])[] = [
  ['64 calls, one after another, nothing cached', () => separate(freshPrompt)],
  [
    '64 calls, one after another, prompt cached',
    () => {
      const prompt = freshPrompt();
      return separate(() => prompt);
    },
  ],
  ['tree of 64 branches from the root', () => tree([64])],
  ['tree of 8 × 8', () => tree([8, 8])],
  ['tree of 4 × 4 × 4', () => tree([4, 4, 4])],
];

async function separate(promptOf: () => string): Promise<Usage[]> {
  const usages: Usage[] = [];
  for (let i = 0; i < BRANCHES; i++) usages.push((await call(promptOf(), 1, 7 + i))[0]!.usage);
  return usages;
}

/** What is compiled and packed is so before anything is measured. */
for (const [, run] of arms.slice(1)) await run();
await call(freshPrompt());

const seconds = arms.map((): number[] => []);
const work = arms.map((): readonly Usage[] => []);
for (let turn = 0; turn < repetitions; turn++) {
  for (const [i, [, run]] of arms.entries()) {
    const begun = performance.now();
    work[i] = await run();
    seconds[i]!.push((performance.now() - begun) / 1000);
  }
}
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
console.log(
  `${flags.model}, ${promptTokens} prompt tokens, ${pathTokens} tokens a branch, median of ${repetitions} turns`,
);
console.log(
  renderMarkdown([
    ['arm', 'seconds', 'times as fast', 'prompt tokens computed', 'of', 'tokens drawn'],
    ...arms.map(([name], i) => {
      const sum = (of: (usage: Usage) => number) => work[i]!.reduce((total, usage) => total + of(usage), 0);
      return [
        ...[
          name,
          median(seconds[i]!).toFixed(2),
          median(seconds[0]!.map((s, turn) => s / seconds[i]![turn]!)).toFixed(1),
        ],
        String(sum(({ promptTokens: asked, cachedPromptTokens = 0 }) => asked - cachedPromptTokens)),
        ...[String(sum(({ promptTokens: asked }) => asked)), String(sum(({ completionTokens }) => completionTokens))],
      ];
    }),
  ]),
);

async function lettersModel(): Promise<CausalLM> {
  const folder = mkdtempSync(join(tmpdir(), 'posttrain-letters-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const vocab = Object.fromEntries(LETTERS.map((letter, i) => [letter, i]));
  const document = { version: '1.0', added_tokens: [], model: { type: 'BPE', vocab, merges: [] } };
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(document));
  const config = parseModelConfig({
    ...MODEL_CONFIGS[flags.model as ModelName],
    ...{ vocab_size: LETTERS.length, eos_token_id: null },
  });
  return CausalLM.initialize({ config, tokenizer: await Tokenizer.load(folder), name: flags.model }, 0);
}
