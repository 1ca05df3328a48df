import assert from 'node:assert/strict';
import type { DecodeHook } from '../sampling/decode-hook.js';
import { promptLookupProposer } from '../speculative/prompt-lookup.js';
import { kitModel, kitRow, runRows } from './kit-run.js';

/** Options of `testDecodeHook`. */
export interface TestDecodeHookOptions {
  /** Tokens of each row. Default 24. */
  readonly maxTokens?: number;
}

const VOCABULARY = 8;
const PROMPTS = [[1, 2, 3], [5, 4, 5, 4, 5, 4], [7]];

/**
 * Registers the checks that every decode hook must pass, with the test function of any framework: `testDecodeHook(it,
 * 'budgetForcing', () => budgetForcing({ … }))`, where the function makes a hook for one row of a model with the tokens 0 to 7.
 * They run on the current engine.
 *
 * - it is asked once for every position, in order, with what the row has;
 * - what it forces and forbids is forced and forbidden, and forced tokens are marked;
 * - a row gets the same in any batch, and with proposals.
 */
export function testDecodeHook(
  it: (name: string, body: () => Promise<void>) => void,
  name: string,
  make: () => DecodeHook,
  { maxTokens = 24 }: TestDecodeHookOptions = {},
): void {
  const rowsWith = (hook: () => DecodeHook) =>
    PROMPTS.map((prompt, seed) => kitRow(prompt, maxTokens, seed, { temperature: 1, hook: hook() }));
  const seen = (events: Awaited<ReturnType<typeof runRows>>) =>
    events.map((list) => list.map(({ token, forced = false }) => [token, forced]));

  it(`${name} is obeyed, and asked once a position`, async () => {
    const model = await kitModel(VOCABULARY, 1);
    const events = await runRows(
      model,
      rowsWith(() => obeyed(make())),
    );
    for (const list of events) assert.equal(list.length, maxTokens);
  });

  it(`${name} gives a row the same in any batch, and with proposals`, async () => {
    const model = await kitModel(VOCABULARY, 1);
    const together = seen(await runRows(model, rowsWith(make)));
    const proposer = () => promptLookupProposer({ tokens: 3, maxMatchingNgramSize: 1 });
    assert.deepEqual(seen(await runRows(model, rowsWith(make), { proposer })), together);
    for (const [i] of PROMPTS.entries()) {
      assert.deepEqual(seen(await runRows(model, [rowsWith(make)[i]!]))[0], together[i]);
    }
  });
}

/** The hook, and assertions that what it says is done. */
function obeyed(hook: DecodeHook): DecodeHook {
  let [expected, forbidden, asked]: [number[], readonly number[], number] = [[], [], -1];
  const met = (generated: readonly number[]) => {
    const from = generated.length - expected.length;
    assert.deepEqual(generated.slice(from), expected, 'what was forced did not come');
  };
  return {
    next(state) {
      assert.ok(state.generated.length > asked, 'asked twice for one position');
      asked = state.generated.length;
      met(state.generated);
      const step = hook.next?.(state);
      expected = [...(step?.force ?? [])];
      forbidden = step?.forbid ?? [];
      return step;
    },
    replace(state, token) {
      assert.ok(!forbidden.includes(token), `${token} was drawn, though it was forbidden`);
      const others = hook.replace?.(state, token);
      expected = [...(others ?? [token])];
      return others;
    },
  };
}
