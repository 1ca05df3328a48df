import { type Given, integer, listOf, number, options, text } from '@posttrain/interfaces';
import { fill, generatorOption, promptsOption, synthesisShape, synthesisStep, textOf } from '../steps/asking.js';
import { scoresOf, verifierOption } from '../steps/verified.js';
import { NoveltyPool } from '../synthesis/novelty.js';

const PROMPTS = {
  more: 'Write a new example of the same kind as this one, which a model would find as hard. Write it only.\n\nExample: {text}',
} as const;

const candidateOptions = options('generateCandidates', {
  generator: generatorOption,
  /** Texts that are there already, which nothing new may be too like. */
  pool: listOf(text({}), { default: [] }),
  /** ROUGE-L with the pool and the row itself must be below this. Default 0.7. */
  novelty: number({ default: 0.7, above: 0, max: 1 }),
  /** New ones of each row. Default 1. */
  samples: integer({ default: 1, min: 1 }),
  /** Who says whether a new one can be used; a score of at least 0.5. Default: all can. */
  acceptable: verifierOption,
  prompts: promptsOption(PROMPTS),
  ...synthesisShape,
});
/** Options of `generateCandidates`. */
export type GenerateCandidatesOptions = Given<typeof candidateOptions>;

/** A candidate to be labelled, which a model wrote. */
export type CandidateRow = { readonly prompt: string; readonly from: string };

/**
 * Generated candidates of active learning (arXiv 2502.11767 §5): of every row's `prompt`, which a selection found worth labelling, new ones like it that are not yet in the pool. What is too like the pool, the row or
 * another one of that row goes, as does what is not acceptable; both are warnings. The pool is fixed, so that rows do not depend on each other: deduplicate behind it (`minhashDeduplicate`).
 *
 * @throws OptionError; RowError for a row without prompt; PosttrainError `BAD_RESPONSE`
 */
export function generateCandidates(given: GenerateCandidatesOptions) {
  const settings = candidateOptions.read(given);
  const { generator, pool, novelty, samples, acceptable } = settings;
  const prompts = { ...PROMPTS, ...settings.prompts };
  const there = new NoveltyPool(pool, novelty);
  return synthesisStep<object, CandidateRow>(
    'generate candidates',
    JSON.stringify(candidateOptions.settings(given)),
    settings,
    async (row, ask, { signal, warn }, rowNumber) => {
      const from = textOf(row, 'prompt', rowNumber);
      const drawn = await ask.many(generator, fill(prompts.more, { text: from }), 'candidates', samples);
      const own = new NoveltyPool([from], novelty);
      const made: { row: CandidateRow; part: number }[] = [];
      for (const [i, raw] of drawn.entries()) {
        const prompt = raw.trim();
        const [score] = acceptable ? await scoresOf(acceptable, row, from, [prompt], signal) : [1];
        if (prompt === '' || there.likeness(prompt) >= novelty || !own.add(prompt)) warn('a candidate is not new');
        else if (score === null || score! < 0.5) warn('a candidate cannot be used');
        else made.push({ row: { prompt, from }, part: i });
      }
      return made.length === 0 ? { drop: 'no candidate can be used' } : made;
    },
  );
}
