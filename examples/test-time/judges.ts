import type { Generator, PairJudge, Verifier } from '@posttrain/interfaces';

/** The verifier's score of a text; a text of which it has none scores 0. */
async function scoreOf(verifier: Verifier, completion: string): Promise<number> {
  const [verdict] = await verifier.verify([{ prompt: '', completion }]);
  return verdict!.score ?? 0;
}

/** Prefers the text that the verifier scores higher: what a tournament asks, without a prompt. */
export const comparing = (verifier: Verifier): PairJudge => ({
  name: `${verifier.name}, compared`,
  compare: (requests) =>
    Promise.all(
      requests.map(async ({ first, second }) => {
        const gap = (await scoreOf(verifier, first)) - (await scoreOf(verifier, second));
        return { winner: gap > 0 ? 'first' : gap < 0 ? 'second' : 'tie' } as const;
      }),
    ),
});

/** Writes the verifier's score of the text that it is given as a prompt, and no tokens: values of thoughts, without a prompt. */
export const writing = (verifier: Verifier): Generator => ({
  name: `${verifier.name}, written`,
  generate: (requests) =>
    Promise.all(
      requests.map(async ({ prompt, n = 1 }) => {
        const text = String(await scoreOf(verifier, String(prompt)));
        const usage = { promptTokens: 0, completionTokens: 0 };
        return Array.from({ length: n }, () => ({ text, finishReason: 'stop' as const, usage }));
      }),
    ),
});

/** Of a verifier whose k-th step score is the share of the first k steps that are right: whether the last one is. */
export const lastStep = (verifier: Verifier): Verifier => ({
  name: `${verifier.name}, the last`,
  verify: async (requests) =>
    (await verifier.verify(requests)).map(({ score, stepScores = [] }) => {
      const [before = 0, last] = [stepScores.at(-2), stepScores.at(-1)];
      if (last === undefined) return { score };
      return { score: Math.round(stepScores.length * last - (stepScores.length - 1) * before) };
    }),
});
