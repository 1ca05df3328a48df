import { readFileSync } from 'node:fs';
import { arithmetic } from '@posttrain/data';
import * as evaluation from '@posttrain/eval';
import { extractBoxed, markedAnswer, referenceAnswers } from '@posttrain/interfaces/answers';
import { exactMatch, numericMatch } from '@posttrain/rl';
import { majorityVote } from '@posttrain/tts';
import { describe, expect, it } from 'vitest';

const golden = new URL('../../goldens/answers/expected.json', import.meta.url);
const { cases } = JSON.parse(readFileSync(golden, 'utf8')) as { cases: { completion: string; gold: string }[] };

/** The answer that wins the vote of two completions; null when nobody votes. */
async function voted(completion: string): Promise<string | null> {
  const usage = { promptTokens: 1, completionTokens: 1 };
  const said = { text: completion, finishReason: 'stop' as const, usage };
  const generator = { name: 'said', generate: async () => [[said, said]] };
  return majorityVote({ prompt: 'q' }, { generator, n: 2 }).then(
    ({ answer }) => answer,
    () => null,
  );
}

describe('a policy is rewarded exactly for what the vote and the grade call right', () => {
  it.each(cases)('$completion against $gold', async ({ completion, gold }) => {
    const row = { answer: gold };
    const [grade] = await evaluation.exactMatch().verify([{ prompt: 'q', completion, row }]);
    const right = grade!.score;
    const answer = await voted(completion);
    expect(answer).toBe(grade!.answer);
    expect(Number(answer !== null && referenceAnswers('vote', gold).includes(answer))).toBe(right);
    const [reward] = await exactMatch().verify([{ prompt: 'q', completion, row }]);
    expect(reward!.score).toBe(right);
    const [numeric] = await numericMatch().verify([{ prompt: 'q', completion, row }]);
    if (numeric!.score !== null) expect(numeric).toEqual({ score: right, answer: grade!.answer });
    const boxed = extractBoxed(completion);
    if (boxed !== null && boxed.trim() === markedAnswer(completion) && /^\d+$/.test(gold)) {
      const problem = { terms: [Number(gold)], operators: [] };
      expect(Number(arithmetic().check(problem, `# ${boxed}`).correct)).toBe(right);
    }
  });
});
