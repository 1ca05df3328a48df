import assert from 'node:assert/strict';
import type { Generator, SamplingParams, Verifier } from '@posttrain/interfaces';
import { sleep } from '@posttrain/interfaces/concurrency';
import type { Budget } from '../budget.js';
import type { Problem, StrategyOptions } from '../search-options.js';
import type { SearchResult, Strategy } from '../search-types.js';
import { type Trace, traceToJson } from '../trace.js';
import { HANGS_MS, type KitBehaviour, kitModel, type Measured, TOKENS_PER_VERIFIER_CALL } from './kit-model.js';

/** What the kit gives to a strategy; it adds what it needs beside. */
export interface KitOptions {
  readonly generator: Generator;
  readonly verifier: Verifier;
  readonly n: number;
  readonly sampling: SamplingParams;
  readonly budget?: Budget;
  readonly batchSize?: number;
  readonly retries?: number;
  readonly failures?: 'throw' | 'drop';
  readonly signal?: AbortSignal;
}

/** Options of `testStrategy`. */
export interface TestStrategyOptions {
  /** Given to the strategy. Default 6. */
  readonly n?: number;
  /** Default `{ prompt: 'What is the digit?' }`. */
  readonly problem?: Problem;
}

const MAX_TOKENS = 4;
const LIMITS = [0, 1, 2, 3, 5, 8, 13, 21, 34];

/**
 * Registers the checks that every search strategy must pass, with the test function of any framework:
 * `testStrategy(it, 'mcts', mcts, (kit) => ({ ...kit, width: 2 }))`, where the function makes the strategy's options. The
 * kit's generator is a function of prompt and seed and writes digits, in steps where a `stop` is given; its verifier scores any
 * text from 0 to 1.
 *
 * - no budget is ever exceeded, measured by who was asked, failures and retries included;
 * - the tree is the same at any concurrency and with any delays;
 * - the trace is well formed: parents before children, one chosen node, costs that add up, plain data;
 * - the caller's signal ends everything, and nothing is left running.
 */
export function testStrategy<Options extends StrategyOptions>(
  it: (name: string, body: () => Promise<void>) => void,
  name: string,
  strategy: Strategy<Options>,
  optionsOf: (kit: KitOptions) => Options,
  { n = 6, problem = { prompt: 'What is the digit?' } }: TestStrategyOptions = {},
): void {
  const run = async (rest: Partial<KitOptions>, behaviour: KitBehaviour = {}) => {
    const { generator, verifier, measured } = kitModel(behaviour);
    const sampling = { maxTokens: MAX_TOKENS, seed: 7 };
    const options = optionsOf({ generator, verifier, n, sampling, ...rest });
    const [outcome] = await Promise.allSettled([strategy(problem, options)]);
    return { outcome: outcome!, measured };
  };
  const resultOf = async (...given: Parameters<typeof run>): Promise<SearchResult> => {
    const { outcome } = await run(...given);
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  };

  it(`${name} never exceeds a budget`, async () => {
    for (const limit of LIMITS) {
      const budgets: Budget[] = [
        { maxCompletions: limit },
        { maxCompletionTokens: limit },
        { maxVerifierCalls: limit },
        { maxVerifierTokens: limit, tokensPerVerifierCall: TOKENS_PER_VERIFIER_CALL },
        { maxCompletions: limit, maxCompletionTokens: 2 * limit, maxVerifierCalls: limit },
      ];
      for (const budget of budgets) {
        for (const batchSize of [1, 4, undefined]) {
          const { outcome, measured } = await run({ budget, ...(batchSize !== undefined && { batchSize }) });
          assertWithin(measured, budget);
          const trace = traceOf(outcome);
          assert.ok(trace, `${name} failed: ${outcome.status === 'rejected' ? String(outcome.reason) : ''}`);
          const { completions, completionTokens, verifierCalls } = trace.spent;
          assert.deepEqual(
            { completions, completionTokens, verifierCalls },
            {
              completions: measured.completions,
              completionTokens: measured.completionTokens,
              verifierCalls: measured.verifierCalls,
            },
            'the trace counts something else than was spent',
          );
        }
      }
    }
  });

  it(`${name} is charged for calls that fail, and tried again only within the budget`, async () => {
    for (const limit of LIMITS) {
      for (const budget of [{ maxCompletions: limit }, { maxCompletionTokens: 3 * limit }]) {
        const { measured } = await run({ budget, retries: 3 }, { fails: (call) => call % 3 !== 2 });
        assertWithin(measured, budget);
        assert.equal(measured.inFlight, 0);
      }
    }
  });

  it(`${name} finds the same tree at any concurrency and with any delays`, async () => {
    const wanted = comparable(await resultOf({}));
    for (const batchSize of [1, 2, 5]) assert.deepEqual(comparable(await resultOf({ batchSize })), wanted);
    for (const seed of [1, 2, 3]) {
      const delay = (request: number) => (request * 7 + seed * 3) % 4;
      assert.deepEqual(comparable(await resultOf({}, { delay })), wanted);
    }
  });

  it(`${name} leaves a well-formed trace`, async () => {
    const { trace, text } = await resultOf({});
    assert.deepEqual(JSON.parse(traceToJson(trace)), trace, 'the trace is not plain data');
    trace.nodes.forEach(({ id, parent, parents = [] }, i) => {
      assert.equal(id, i, 'ids go up from 0');
      assert.equal(parent === null, i === 0, 'only the root has no parent');
      for (const it of [parent ?? -1, ...parents]) assert.ok(it < id, 'a parent comes before its children');
      if (parents.length > 0) assert.equal(parents[0], parent);
    });
    const chosen = trace.nodes.filter(({ status }) => status === 'chosen');
    assert.equal(chosen.length, 1, 'one node is chosen');
    assert.ok(text.endsWith(chosen[0]!.text), 'the answer is the text of the chosen node');
    for (const node of trace.nodes) {
      assert.ok(node.status !== 'dropped' || node.reason, `node ${node.id} was dropped without a reason`);
    }
    for (const key of ['promptTokens', 'completionTokens'] as const) {
      const sum = trace.nodes.reduce((total, node) => total + node[key], 0);
      assert.equal(sum, trace.spent[key], `the ${key} of the nodes do not add up`);
    }
  });

  it(`${name} ends with the caller’s signal, and leaves nothing running`, async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const running = run({ signal: controller.signal }, { hangs: true });
    await new Promise((resolve) => setTimeout(resolve, 5));
    controller.abort(reason);
    const ended = await Promise.race([running, sleep(HANGS_MS / 2, new AbortController().signal)]);
    assert.ok(ended, 'it must end with the signal, and not with what it has called');
    const { outcome, measured } = ended;
    assert.equal(outcome.status === 'rejected' && outcome.reason, reason, 'it must reject with the signal’s reason');
    const calls = measured.generatorCalls + measured.verifierCalls;
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(measured.inFlight, 0, 'a call is still under way');
    assert.equal(measured.generatorCalls + measured.verifierCalls, calls, 'something was begun after the end');
  });
}

function assertWithin(measured: Measured, budget: Budget): void {
  for (const [limit, spent] of [
    ['maxCompletions', measured.completions],
    ['maxCompletionTokens', measured.completionTokens],
    ['maxVerifierCalls', measured.verifierCalls],
    ['maxVerifierTokens', measured.verifierTokens],
  ] as const) {
    const most = budget[limit];
    assert.ok(most === undefined || spent <= most, `${limit} is ${most}, and ${spent} were spent`);
  }
}

/** Of a search that returned, or found nothing to return. */
function traceOf(outcome: PromiseSettledResult<SearchResult>): Trace | undefined {
  return outcome.status === 'fulfilled' ? outcome.value.trace : (outcome.reason as { trace?: Trace }).trace;
}

/** What must not depend on how many calls run at a time. */
function comparable({ trace, ...result }: SearchResult): unknown {
  const { spent, ...rest } = trace;
  const { wallTimeMs: _, generatorCalls: __, ...counted } = spent;
  return { ...result, trace: { ...rest, spent: counted } };
}
