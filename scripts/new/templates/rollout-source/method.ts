import { type Given, integer, options } from '@posttrain/interfaces';
import { generatorOf, type PromptRow, type RolloutSource, seedOf } from '@posttrain/rl';

const myMethodOptions = options('myMethod', {
  /** How many times as many completions are drawn as are asked for. Default 2. */
  factor: integer({ default: 2, min: 1 }),
});
/** Options of `myMethod`. */
export type MyMethodOptions = Given<typeof myMethodOptions>;

/**
 * Completions that differ (arXiv 0000.00000): `factor` times as many are drawn as are asked for, and those are kept whose text is the
 * first of its kind; others where there are not enough. One completion of the prompt is the whole rollout.
 *
 * @throws OptionError
 */
export function myMethod<Row extends PromptRow = PromptRow>(given: MyMethodOptions = {}): RolloutSource<Row> {
  const { factor } = myMethodOptions.read(given);
  return {
    name: 'my-method',
    settings: myMethodOptions.settings(given),
    async sample(request) {
      const { rows, prompts, completionsPerPrompt, sampling, key, signal, firstGroup } = request;
      signal?.throwIfAborted();
      const sampled = await generatorOf(request).generate(
        rows.map(({ prompt }, i) => ({
          ...sampling,
          prompt: { tokenIds: prompts[i]!, continuesText: typeof prompt === 'string' },
          ...{ n: factor * completionsPerPrompt, logProbs: true, seed: seedOf(key.child(i)) },
          ...(signal && { signal }),
        })),
      );
      signal?.throwIfAborted();
      return sampled.flatMap((completions, i) => {
        const texts = completions.map(({ text }) => text);
        const isFirst = (_: unknown, at: number) => texts.indexOf(texts[at]!) === at;
        const others = completions.filter((one, at) => !isFirst(one, at));
        const kept = [...completions.filter(isFirst), ...others].slice(0, completionsPerPrompt);
        return kept.map(({ text, tokenIds, logProbs, finishReason }) => ({
          ...{ group: firstGroup + i, row: rows[i]!, promptTokens: prompts[i]!, text, finishReason },
          ...{ completionTokens: tokenIds!, samplerLogProbs: logProbs! },
        }));
      });
    },
  };
}
