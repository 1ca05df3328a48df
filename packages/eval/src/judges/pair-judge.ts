import {
  type CompareRequest,
  custom,
  type Generator,
  type Given,
  integer,
  number,
  options,
  type PairJudge,
  type PairVerdict,
  type Prompt,
} from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';

const isFunction = (value: unknown): boolean => typeof value === 'function';

const judgeOptions = options('pairJudge', {
  /** The model that judges. */
  generator: custom<Generator>()(
    'a generator: an object with a name and generate(requests)',
    (value) => isFunction((value as Generator | null)?.generate),
    {},
  ),
  /** What it is asked. Default: both answers under their letters, and a verdict in brackets. */
  prompt: custom<(request: CompareRequest) => Prompt>()('a function of a pair', isFunction, { optional: true }),
  /** The verdict in what it wrote. Default: the last of `[[A]]` (the first), `[[B]]` (the second) and `[[C]]` (a tie); none: `null`. */
  parse: custom<(text: string) => PairVerdict['winner']>()('a function of a text', isFunction, { optional: true }),
  /** Default 0: greedy. */
  temperature: number({ default: 0, min: 0 }),
  /** Most tokens of a judgement. Default 1024. */
  maxTokens: integer({ default: 1024, min: 1 }),
});
/** Options of `pairJudge`. */
export type PairJudgeOptions = Given<typeof judgeOptions>;

/**
 * A generator as a judge of pairs (LLM-as-judge, arXiv 2306.05685): it is shown the prompt and both answers, writes its reasons and then a verdict
 * in that paper's letters. One that was cut off or says none has given no verdict.
 *
 * @throws OptionError; EvaluationError `BAD_RESPONSE` for a generator that leaves requests out
 */
export function pairJudge(given: PairJudgeOptions): PairJudge {
  const { generator, prompt = pairPrompt, parse = lastVerdict, temperature, maxTokens } = judgeOptions.read(given);
  return {
    name: `pair judge ${generator.name}`,
    async compare(requests) {
      const answers = await generator.generate(
        requests.map((request) => ({
          ...{ prompt: prompt(request), temperature, maxTokens },
          ...(request.signal && { signal: request.signal }),
        })),
      );
      return requests.map((_, i): PairVerdict => {
        const answer = answers[i]?.[0];
        if (answer === undefined) {
          throw new EvaluationError(
            'BAD_RESPONSE',
            `${generator.name} gave no judgement of pair ${i} of ${requests.length}.`,
          );
        }
        return { winner: parse(answer.text), explanation: answer.text, usage: answer.usage };
      });
    },
  };
}

/** What a judge is asked by default. */
export function pairPrompt(request: CompareRequest): Prompt {
  return [
    {
      role: 'system',
      content:
        'You compare two answers to one request. Judge how helpful, right, relevant and complete they are; their order and their length count for nothing. ' +
        'Give your reasons in a few sentences, and end with your verdict: [[A]] if answer A is better, [[B]] if answer B is better, [[C]] if they are equally good.',
    },
    { role: 'user', content: pairText(request) },
  ];
}

/** The prompt, and both answers under their letters. */
export function pairText({ prompt, first, second }: CompareRequest): string {
  const asked =
    typeof prompt === 'string' ? prompt : prompt.map(({ role, content }) => `${role}: ${content}`).join('\n\n');
  return `# Request\n${asked}\n\n# Answer A\n${first}\n\n# Answer B\n${second}`;
}

function lastVerdict(text: string): PairVerdict['winner'] {
  const letter = [...text.matchAll(/\[\[([ABC])\]\]/g)].at(-1)?.[1];
  return letter === undefined ? null : ({ A: 'first', B: 'second', C: 'tie' } as const)[letter as 'A' | 'B' | 'C'];
}
