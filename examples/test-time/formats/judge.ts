import type { Generator, Prompt, Verdict, Verifier } from '@posttrain/interfaces';

const textOf = (prompt: Prompt): string => (typeof prompt === 'string' ? prompt : prompt.at(-1)!.content);

/**
 * The model as a verifier of its own texts, whole or in part: the probability that it gives to "1" where it is asked whether what was written so
 * far is right, the format that Tree of Thoughts taught it. A text is asked about once.
 */
export function judgeOf(generator: Generator): Verifier {
  const known = new Map<string, Promise<Verdict>>();
  const asked: {
    readonly prompt: string;
    readonly resolve: (verdict: Verdict) => void;
    readonly reject: (error: unknown) => void;
  }[] = [];
  const ask = async () => {
    const batch = asked.splice(0);
    const content = (prompt: string): Prompt => [{ role: 'user', content: prompt }];
    try {
      const said = await generator.generate(
        batch.map(({ prompt }) => ({ prompt: content(prompt), temperature: 0, maxTokens: 1, logProbs: true })),
      );
      batch.forEach(({ resolve }, i) => {
        const { text, logProbs, usage } = said[i]![0]!;
        const p = Math.exp(logProbs![0]!);
        resolve({ score: text.trim() === '1' ? p : text.trim() === '0' ? 1 - p : null, usage });
      });
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  };
  return {
    name: 'own judgement',
    async verify(requests) {
      const scores = requests.map(({ prompt, completion }) => {
        const text = `${textOf(prompt)}\nSo far: ${completion}\nIs it right?`;
        if (!known.has(text)) {
          known.set(text, new Promise((resolve, reject) => asked.push({ prompt: text, resolve, reject })));
        }
        return known.get(text)!;
      });
      if (asked.length > 0) await ask();
      return Promise.all(scores);
    },
  };
}
