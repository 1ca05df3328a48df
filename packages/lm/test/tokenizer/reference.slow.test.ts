import { expect, it } from 'vitest';
import {
  codePointTexts,
  compareNormalizer,
  comparePreTokenizer,
  compareRandomTokenizers,
  normalizers,
  preTokenizers,
} from './against-reference.js';

it.each([11, 12, 13, 14])('random pipelines equal the tokenizers library, seed %i', (seed) =>
  compareRandomTokenizers(seed, 5000),
);

it('every code point, in every component', () => {
  let count = 0;
  for (const text of codePointTexts(0, 1, 4000)) {
    for (const json of normalizers) compareNormalizer(json, text);
    for (const json of preTokenizers) comparePreTokenizer(json, text);
    count++;
  }
  expect(count).toBe(279);
});
