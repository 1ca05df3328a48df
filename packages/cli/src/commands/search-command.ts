import { createProgress } from '@posttrain/eval';
import { custom, integer, options, type SamplingParams, text, type Verifier } from '@posttrain/interfaces';
import * as tts from '@posttrain/tts';
import { EXIT } from '../command.js';
import { choiceOf } from '../options/choice.js';
import { CommandLineError } from '../options/command-line-error.js';
import { camelKeys, isRecord } from '../options/names.js';
import { interruptible } from '../training/interruptible.js';
import { chosen, isNamed } from '../training/made-options.js';
import { oneReward } from '../training/rewards.js';
import type { DeclaredCommand } from './declared-command.js';
import { KeptRows, keptMessage } from './kept-rows.js';
import { localGenerator, promptsOf } from './local-generator.js';

/** Strategies that need no function of a program. */
const strategies = {
  majorityVote: tts.majorityVote,
  bestOfN: tts.bestOfN,
  weightedBestOfN: tts.weightedBestOfN,
  softBestOfN: tts.softBestOfN,
  adaptiveConsistency: tts.adaptiveConsistency,
  earlyStoppingSelfConsistency: tts.earlyStoppingSelfConsistency,
  universalSelfConsistency: tts.universalSelfConsistency,
  complexityBased: tts.complexityBased,
  minimumBayesRisk: tts.minimumBayesRisk,
  zeroShotCot: tts.zeroShotCot,
  chainOfVerification: tts.chainOfVerification,
  selfRefine: tts.selfRefine,
  sequentialRevision: tts.sequentialRevision,
  knockoutTournament: tts.knockoutTournament,
  swissTournament: tts.swissTournament,
  genSelect: tts.genSelect,
  recursiveSelfAggregation: tts.recursiveSelfAggregation,
  selfPolish: tts.selfPolish,
  leastToMost: tts.leastToMost,
  skeletonOfThought: tts.skeletonOfThought,
  stepBeamSearch: tts.stepBeamSearch,
  diverseVerifierTreeSearch: tts.diverseVerifierTreeSearch,
  mcts: tts.mcts,
  rebase: tts.rebase,
  particleFiltering: tts.particleFiltering,
} as const;

type AnyStrategy = (problem: tts.Problem, options: never) => Promise<tts.SearchResult>;

const shape = {
  /** A Hugging Face folder, a GGUF file, or a name on the hub. */
  model: text({}),
  /** What is asked. A model with a chat template is asked it as a message. */
  prompt: text({ optional: true }),
  /** Rows with a `prompt` each, in the place of one that is typed; the verifier sees their other columns. */
  rows: chosen('a file or folder of rows', isNamed, { optional: true }),
  /** The file of rows that is written, whole or not at all: each row with `text`, `answer` and `score`. Until then they are kept in FILE.part, and the same command goes on with it. */
  output: text({ optional: true }),
  /** A strategy of @posttrain/tts, with its own options after a dot: `--strategy step-beam-search --strategy.beam-width 4`. */
  strategy: chosen('the name of a strategy', isNamed, { default: 'majority-vote' }),
  /** Completions to draw; of a search over a tree its width. */
  n: integer({ default: 8, min: 1 }),
  /** Who judges completions: `exact-match`, `numeric-match`, `format-tags`, or after a dot `model`, the folder of a reward model, or `module`. Default: nobody. */
  verifier: chosen('the name of a verifier', isNamed, { optional: true }),
  /** How tokens are drawn, after a dot: `--sampling.temperature 0.8 --sampling.max-tokens 64`. */
  sampling: custom<SamplingParams>()('options by name', isRecord, { default: {} }),
  /** Limits of one search, after a dot: `--budget.max-completions 32`. Default: none. */
  budget: custom<tts.Budget>()('limits by name', isRecord, { optional: true }),
  /** The folder of an adapter. Default: none. */
  adapter: text({ optional: true }),
  /** How the model is quantised as it is read: nf4, fp4, int8, int4 or hqq. Default: as it is. */
  quantization: chosen('the name of a method', isNamed, { optional: true }),
  /** A YAML file with these options; what is typed goes over it. */
  config: text({ optional: true }),
};
const declared = options('search', shape);

export const searchCommand: DeclaredCommand<typeof shape> = {
  name: 'search',
  usage: 'MODEL [PROMPT] [options]',
  about: 'Searches at test time with a local model: of several completions, or of a tree of steps, the best answer.',
  declared,
  positionals: ['model', 'prompt'],
  async run(given, { print, complain }) {
    const choice = choiceOf('--strategy', given.strategy, Object.keys(strategies), 'majority-vote');
    if (given.rows !== undefined && given.output === undefined) {
      throw new CommandLineError('--rows needs --output FILE, where they are written with their answers.');
    }
    const verifier = given.verifier === undefined ? undefined : await verifierOf(given.verifier);
    const { model, generator } = await localGenerator(given);
    const rows = await promptsOf(given, model);
    const search = strategies[choice.name as keyof typeof strategies] as AnyStrategy;
    const sampling = camelKeys(given.sampling) as SamplingParams;
    const { output, config: _, ...decisive } = given;
    const kept = output === undefined ? undefined : await KeptRows.open(output, { ...decisive, rows });
    const { onProgress, finish } = createProgress();
    const { signal, release } = interruptible(() =>
      complain('\nsearch: stopping after this row; once more ends it at once.\n'),
    );
    let done = kept?.rows.length ?? 0;
    try {
      for (; done < rows.length && !signal.aborted; done++) {
        const row = rows[done]!;
        const settings = {
          ...{ generator, n: given.n, ...choice.options },
          // Every problem has draws of its own.
          sampling: { ...sampling, ...(sampling.seed !== undefined && { seed: sampling.seed + done * given.n }) },
          ...(verifier && { verifier }),
          ...(given.budget && { budget: camelKeys(given.budget) as tts.Budget }),
        };
        const result = await answered(search({ prompt: row.prompt, row }, settings as never));
        if (result.text === null) complain(`search: row ${done + 1} has no answer: ${result.why}\n`);
        await kept?.add([{ ...row, text: result.text, answer: result.answer, score: result.score }]);
        if (!kept) print(`${result.text ?? ''}\n\nanswer: ${result.answer ?? 'none'}\n`);
        else onProgress({ stage: choice.name, done: done + 1, total: rows.length });
      }
    } finally {
      release();
      finish();
    }
    if (done < rows.length) {
      complain(keptMessage('search', done, rows.length));
      return EXIT.interrupted;
    }
    if (!kept) return 0;
    await kept.finish();
    print(`${output}: ${done} rows\n`);
    return 0;
  },
};

async function verifierOf(value: unknown): Promise<Verifier> {
  const found = await oneReward('--verifier', isRecord(value) ? value : { name: value });
  if (typeof found !== 'function') return found;
  throw new CommandLineError(
    '--verifier: must be a verifier, an object with verify(requests); functionVerifier makes one.',
  );
}

/** What a search has found; nothing, and why, where none of its completions can be an answer. */
async function answered(search: Promise<tts.SearchResult>) {
  try {
    const { text: found, answer, score } = await search;
    return { text: found, answer, score };
  } catch (error) {
    // One row of many; the others are not lost for it.
    if (!(error instanceof tts.NoCandidateError)) throw error;
    return { text: null, answer: null, score: null, why: error.message };
  }
}
