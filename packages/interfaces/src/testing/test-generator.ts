import assert from 'node:assert/strict';
import type { Completion, GenerateRequest, Generator } from '../generate.js';
import type { Prompt } from '../prompt.js';
import type { Make, TestFunction } from './kit.js';

/** Options of `testGenerator`. */
export interface TestGeneratorOptions {
  /** Two or more. Default: three texts. */
  readonly prompts?: readonly Prompt[];
  /** Most tokens of a completion. Default 8. */
  readonly maxTokens?: number;
  /** Whether it is told a seed and gives the same completion of it, whatever is asked beside. Default true. */
  readonly seeded?: boolean;
  /** Whether it gives log-probabilities where it is asked for them. Default false. */
  readonly logProbs?: boolean;
}

/**
 * Registers the checks that every `Generator` must pass, with the test function of any framework: `testGenerator(it, () => new
 * LocalGenerator(model))`.
 *
 * - one list of `n` completions a request, in order; nothing of nothing;
 * - completions are within `maxTokens`, and say why they ended and what they took;
 * - temperature 0 is one completion; a seed too, whatever else is asked for;
 * - a stop string ends the text before it; a signal that has fired ends everything.
 */
export function testGenerator(
  it: TestFunction,
  name: string,
  make: Make<Generator>,
  options: TestGeneratorOptions = {},
): void {
  const { prompts = ['ab', 'c', 'de a'], maxTokens = 8, seeded = true, logProbs = false } = options;
  const check = (what: string, body: (generator: Generator) => Promise<void>) =>
    it(`the generator ${name} ${what}`, async () => body(await make()));
  const requests = (more: Partial<GenerateRequest> = {}): GenerateRequest[] =>
    prompts.map((prompt, i) => ({ prompt, maxTokens, ...(seeded && { seed: i + 1 }), ...more }));
  const texts = (all: readonly (readonly Completion[])[]) => all.map((own) => own.map(({ text }) => text));

  check('gives n completions of each request, in order', async (generator) => {
    assert.ok(typeof generator.name === 'string' && generator.name !== '', 'it has a name');
    assert.deepEqual(await generator.generate([]), [], 'nothing asked');
    const asked = prompts.map((prompt, i) => ({ ...requests()[i]!, prompt, n: 1 + (i % 2) }));
    const found = await generator.generate(asked);
    assert.deepEqual(
      found.map((own) => own.length),
      asked.map(({ n }) => n),
      'how many completions of each',
    );
    for (const own of found) {
      own.forEach(assertCompletion);
      // Of an endpoint the tokens of n completions may be known together only.
      const total = own.reduce((sum, { usage }) => sum + usage.completionTokens, 0);
      const most = own.length * maxTokens;
      assert.ok(total <= most, `${total} tokens are more than ${most}, of ${own.length} completions`);
    }
  });

  if (logProbs) {
    check('gives a log-probability of each token', async (generator) => {
      for (const completion of (await generator.generate(requests({ logProbs: true }))).flat()) {
        assert.equal(completion.logProbs?.length, completion.usage.completionTokens, 'one for each token');
        assert.ok(
          completion.logProbs!.every((x) => Number.isFinite(x) && x <= 1e-6),
          `log p is ${completion.logProbs}`,
        );
      }
    });
  }

  check('is greedy at temperature 0', async (generator) => {
    for (const [first, second] of texts(await generator.generate(requests({ temperature: 0, n: 2 })))) {
      assert.equal(first, second, 'two greedy completions');
    }
  });

  if (seeded) {
    check('is a function of a request with a seed', async (generator) => {
      const together = texts(await generator.generate(requests({ n: 2 })));
      assert.deepEqual(texts(await generator.generate(requests({ n: 2 }))), together, 'asked again');
      for (const [i, request] of requests({ n: 2 }).entries()) {
        assert.deepEqual(texts(await generator.generate([request])), [together[i]], `request ${i} alone`);
      }
    });
  }

  check('ends before a stop string', async (generator) => {
    const greedy = requests({ temperature: 0 });
    for (const [i, [whole]] of (await generator.generate(greedy)).entries()) {
      const { text } = whole!;
      const stop = [...text][Math.floor([...text].length / 2)];
      if (stop === undefined) continue;
      const [[stopped]] = (await generator.generate([{ ...greedy[i]!, stop: [stop] }])) as [[Completion]];
      assert.equal(
        stopped.text,
        text.slice(0, text.indexOf(stop)),
        `before the first ${JSON.stringify(stop)} of ${text}`,
      );
      assert.equal(stopped.finishReason, 'stop', 'why it ended');
      assert.ok(stopped.stop === undefined || stopped.stop === stop, `the stop string is said to be ${stopped.stop}`);
    }
  });

  check('ends where the signal has fired', async (generator) => {
    const signal = AbortSignal.abort(new Error('enough'));
    const outcome = await generator.generate(requests({ signal })).catch((error: unknown) => error);
    const isAborted = Array.isArray(outcome) && outcome.flat().every((one) => one.finishReason === 'abort');
    const isReason = outcome instanceof Error && /enough|abort/i.test(`${outcome.message} ${outcome.cause}`);
    assert.ok(isAborted || isReason, 'it neither threw the reason nor said that completions are aborted');
  });
}

function assertCompletion({ text, finishReason, usage, tokenIds }: Completion): void {
  assert.equal(typeof text, 'string', 'the text');
  assert.ok(['stop', 'length', 'abort'].includes(finishReason), `finishReason ${finishReason}`);
  for (const count of [usage?.promptTokens, usage?.completionTokens, usage?.cachedPromptTokens ?? 0]) {
    assert.ok(Number.isSafeInteger(count) && count >= 0, `usage is ${JSON.stringify(usage)}`);
  }
  const { promptTokens, cachedPromptTokens = 0 } = usage;
  assert.ok(cachedPromptTokens <= promptTokens, `usage is ${JSON.stringify(usage)}`);
  if (tokenIds) assert.equal(tokenIds.length, usage.completionTokens, 'tokenIds, and what usage says');
}
