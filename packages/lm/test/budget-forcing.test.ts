import { Key, referenceEngine, setEngine } from '@posttrain/core-tensor';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { StopStrings } from '../src/generate/stop-strings.js';
import {
  type BudgetForcingOptions,
  budgetForcing,
  type DecodeRow,
  LocalGenerator,
  type SpeculativeOptions,
  sequenceLogProbs,
} from '../src/index.js';
import { drawNext, startRow } from '../src/sampling/draw-next.js';
import { largestDifference, rowOf, tinyModel } from './support.js';

describe('budget forcing', () => {
  beforeAll(() => setEngine(referenceEngine()));

  const [END, STOP, WAIT] = [0, 1, 2];

  /** Draws a row of `length` tokens from the same logits everywhere: what the model would do when it is not controlled. */
  function drawRow(logits: readonly number[], hook: DecodeRow['hook'], length: number, seed: number) {
    const row = rowOf([9], length, { temperature: 1, key: Key.fromSeed(seed), ...(hook ? { hook } : {}) });
    const state = startRow(row);
    const drawn = Array.from({ length }, () => drawNext(row, state, { logits: Float32Array.from(logits) }));
    const tokens = drawn.map(({ token }) => token);
    return { drawn, tokens, forced: drawn.flatMap((token, i) => (token.forced ? [i] : [])) };
  }

  describe('budgetForcing', () => {
    it('thinks for minTokens to maxTokens, waits at most as often as it may, and then lets go', () => {
      fc.assert(
        fc.property(
          fc.record({
            minTokens: fc.integer({ min: 0, max: 20 }),
            more: fc.integer({ min: 0, max: 20 }),
            waits: fc.integer({ min: 0, max: 4 }),
            bias: fc.double({ min: -3, max: 3, noNaN: true }),
            seed: fc.integer({ min: 0, max: 1000 }),
          }),
          ({ minTokens, more, waits, bias, seed }) => {
            const maxTokens = minTokens + more;
            // Put in, an answer begins with two more tokens. None of 2, 3 and 7 can be drawn.
            const hook = budgetForcing({
              ...{ endOfThinking: [END, 7, 7], otherEnds: [STOP], minTokens, maxTokens, waits, wait: [WAIT, 3] },
            });
            const impossible = Number.NEGATIVE_INFINITY;
            const logits = [bias, bias - 1, impossible, impossible, 0, 1, 0.5, impossible];
            const { tokens, forced } = drawRow(logits, hook, 60, seed);
            const end = tokens.findIndex((token) => token === END || token === STOP);
            expect(end).toBeGreaterThanOrEqual(minTokens);
            expect(end).toBeLessThanOrEqual(maxTokens);
            const waited = forced.filter((place) => place < end).map((place) => tokens[place]);
            expect(waited).toEqual(Array.from({ length: waited.length / 2 }, () => [WAIT, 3]).flat());
            expect(waited.length / 2).toBeLessThanOrEqual(waits);
            const cut = forced.filter((place) => place >= end);
            if (end === maxTokens && cut.length > 0) {
              expect(cut).toEqual([end, end + 1, end + 2]);
              expect(tokens.slice(end, end + 3)).toEqual([END, 7, 7]);
            } else expect(cut).toEqual([]);
            // A model that wants to end early has been made to wait as often as allowed, if there was room.
            if (end < maxTokens - 1) expect(waited.length / 2).toBe(waits);
          },
        ),
      );
    });

    it('changes nothing between the bounds', () => {
      const logits = [-1, -1, 0, 1, 2];
      const hook = budgetForcing({ endOfThinking: [END] });
      expect(drawRow(logits, hook, 40, 3)).toEqual(drawRow(logits, undefined, 40, 3));
    });

    it('waits as in the paper: instead of the end, as often as asked, and then ends', () => {
      const hook = budgetForcing({ endOfThinking: [END], wait: [WAIT, 3], waits: 2 });
      // A model that always ends at once.
      const { tokens, forced } = drawRow([50, 0, 0, 0, 0], hook, 6, 1);
      expect(tokens).toEqual([WAIT, 3, WAIT, 3, END, END]);
      expect(forced).toEqual([0, 1, 2, 3]);
    });

    it('refuses bounds that cannot be met', () => {
      const make = (options: Partial<BudgetForcingOptions>) => () => budgetForcing({ endOfThinking: [1], ...options });
      expect(make({ endOfThinking: [] })).toThrow(/endOfThinking has no tokens/);
      expect(make({ minTokens: 5, maxTokens: 4 })).toThrow(/maxTokens must be at least minTokens \(5\), not 4/);
      expect(make({ minTokens: -1 })).toThrow(/minTokens/);
      expect(make({ waits: 2 })).toThrow(/wait has no tokens/);
      expect(make({ waits: 1.5, wait: [1] })).toThrow(/waits/);
      expect(make({ wiat: [1] } as object)).toThrow(/Did you mean "wait"/);
    });
  });

  describe('a request with a hook', () => {
    it('reports what was put in, and gives the same with speculation', async () => {
      const model = await tinyModel();
      const draft = await tinyModel('byte-level-bpe', {}, 4);
      const wait = model.tokenizer.encode(' Wait', { addSpecialTokens: false });
      const [end] = model.tokenizer.encode('</think>', { addSpecialTokens: false }) as [number];
      const options = { endOfThinking: [end], minTokens: 6, maxTokens: 18, wait, waits: 2 };
      const request = {
        ...{ prompt: 'One and one', n: 6, seed: 4, maxTokens: 26, logProbs: true, logitBias: { [end]: 6 } },
        hook: () => budgetForcing(options),
      };
      const run = async (speculative?: SpeculativeOptions) => {
        const generator = new LocalGenerator(model, speculative ? { speculative } : {});
        return (await generator.generate([request]))[0]!;
      };
      const plain = await run();
      const prompt = model.tokenizer.encode('One and one');
      for (const { tokenIds, logProbs, forced } of plain) {
        expect(tokenIds!.length).toBe(26);
        expect(tokenIds!.indexOf(end)).toBeGreaterThanOrEqual(6);
        expect(tokenIds!.indexOf(end)).toBeLessThanOrEqual(18);
        const [scored] = await sequenceLogProbs(model, [[...prompt, ...tokenIds!]]);
        expect(largestDifference(scored!.logProbs.subarray(-26), logProbs!)).toBeLessThan(1e-4);
        const putIn = (forced ?? []).map((place) => tokenIds![place]!);
        expect(putIn.filter((token) => token !== end)).toEqual(
          Array(Math.floor(putIn.length / wait.length))
            .fill(wait)
            .flat(),
        );
      }
      expect(plain.filter(({ forced }) => forced).length).toBeGreaterThan(3);
      expect(new Set(plain.map(({ text }) => text)).size).toBe(6);
      const ids = (list: typeof plain) => list.map(({ tokenIds, forced }) => ({ tokenIds, forced }));
      expect(ids(await run({ draft: model, tokens: 4 }))).toEqual(ids(plain));
      expect(ids(await run({ promptLookup: { maxMatchingNgramSize: 1 } }))).toEqual(ids(plain));
      for (const { tokenIds } of await run({ draft, tokens: 4 })) {
        expect(tokenIds!.indexOf(end)).toBeGreaterThanOrEqual(6);
        expect(tokenIds!.indexOf(end)).toBeLessThanOrEqual(18);
      }
      const places: number[] = [];
      let at = 0;
      for await (const { forced } of new LocalGenerator(model).stream({ ...request, n: 1 })) {
        if (forced) places.push(at);
        at++;
      }
      expect(places).toEqual(plain[0]!.forced ?? []);
    });
  });
});

/** What is emitted, piece by piece, with the rest at the end. */
function feed(pieces: readonly string[], stops: readonly string[]) {
  const watch = new StopStrings(stops);
  const emitted = pieces.map((piece) => watch.push(piece));
  return { emitted: [...emitted, watch.flush()], text: watch.text, stopped: watch.stopped };
}

describe('StopStrings', () => {
  it('finds a stop string across pieces and emits nothing of it', () => {
    const { emitted, text, stopped } = feed(['one<', 'en', 'd', '>two'], ['<end>']);
    expect([emitted, text, stopped]).toEqual([['one', '', '', '', ''], 'one', true]);
  });

  it('gives back what only looked like the start of one', () => {
    const { emitted, text, stopped } = feed(['one<', 'en', 'ough'], ['<end>']);
    expect([emitted, text, stopped]).toEqual([['one', '', '<enough', ''], 'one<enough', false]);
  });

  it('holds back no more than the longest start, and emits it when nothing follows', () => {
    expect(feed(['xaaab'], ['aac']).emitted).toEqual(['xaaab', '']);
    expect(feed(['xaaa'], ['aac']).emitted).toEqual(['xa', 'aa']);
  });

  it('ends at the string that is complete first, and at the longest of those', () => {
    expect(feed(['aXb'], ['aXb', 'X']).text).toBe('a');
    expect(feed(['a', 'X', 'b'], ['aXb', 'X']).text).toBe('a');
    expect(feed(['onetwo'], ['two', 'netwo']).text).toBe('o');
  });

  it('refuses an empty stop string', () => {
    expect(() => new StopStrings(['a', ''])).toThrow(/must not be empty/);
  });

  it('does not depend on how the text is cut, and emits exactly the text', () => {
    const letters = (minLength: number, maxLength: number) =>
      fc.array(fc.constantFrom('a', 'b', 'c'), { minLength, maxLength }).map((list) => list.join(''));
    fc.assert(
      fc.property(
        fc.array(letters(0, 4), { maxLength: 8 }),
        fc.array(letters(1, 4), { maxLength: 3 }),
        (pieces, stops) => {
          const { emitted, text, stopped } = feed(pieces, stops);
          expect(emitted.join('')).toBe(text);
          const whole = pieces.join('');
          // Letter by letter, as one would check by hand.
          const end = Array.from({ length: whole.length }, (_, i) => i + 1).find((n) =>
            stops.some((stop) => whole.slice(0, n).endsWith(stop)),
          );
          expect(stopped).toBe(end !== undefined);
          if (end === undefined) expect(text).toBe(whole);
          else {
            const longest = Math.max(
              ...stops.filter((stop) => whole.slice(0, end).endsWith(stop)).map((s) => s.length),
            );
            expect(text).toBe(whole.slice(0, end - longest));
          }
        },
      ),
    );
  });
});
