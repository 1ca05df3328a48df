import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StopStrings } from '../src/generate/stop-strings.js';

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
